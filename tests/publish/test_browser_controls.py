"""The built book in a reader's hands: the moving picture and every control, by mouse and by keyboard, in both themes and on a phone."""

import os
from importlib import resources
from importlib.util import find_spec

import pytest
from chromium import Page

pytestmark = pytest.mark.slow
INTERACTIVE = {  # pages with charts, and how many
    "chapters/train_test_collapse.html": 1,
    "chapters/transfer_degradation.html": 1,
    "chapters/cascading_collapse.html": 2,
    "chapters/symmetric_generalization.html": 2,
    "chapters/rank_robustness.html": 1,
    "chapters/wide_networks.html": 1,
    "chapters/many_classes.html": 1,
    "chapters/unconstrained_features.html": 1,
    "chapters/low_rank_bias.html": 2,
    "chapters/shallow_convergence.html": 1,
}
STILL = [
    "intro.html",
    "ledger.html",
    "trust.html",
    "metrics.html",
    "glossary.html",
    "chapters/watching_collapse.html",
    "chapters/nonconservative_generalization.html",
]
EVERY = [*STILL, *INTERACTIVE]
POINTS = "[...document.querySelectorAll('.nc-film-panels path')].map((one) => one.getAttribute('transform') + one.getAttribute('d')).join()"


@pytest.fixture(scope="module")
def page(site, tmp_path_factory):
    with Page(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(autouse=True)
def nothing_to_complain_of(page):
    page.errors.clear()
    page.requests.clear()
    yield
    assert not page.errors and not page.requests


# --- the moving picture -----------------------------------------------------------------------------------------------------------------


def epoch(page: Page) -> str:
    return page.run("document.querySelector('.nc-film-said').textContent")


def test_the_picture_moves_by_itself_and_stops(site, page):
    page.open((site / "intro.html").as_uri())
    page.until("document.querySelector('.nc-film button').textContent === 'Pause'")
    first = page.run(POINTS)
    page.until(f"{POINTS} !== {first!r}")
    page.until("document.querySelector('.nc-film button').textContent === 'Play again'")
    assert epoch(page).startswith("Epoch 100") and page.run("document.querySelector('.nc-film noscript').offsetHeight") == 0


def test_who_wants_no_motion_gets_none_until_asked(site, page):
    page.open((site / "intro.html").as_uri(), still=True)
    assert page.run("document.querySelector('.nc-film button').textContent") == "Play again" and epoch(page).startswith("Epoch 100")
    page.click(".nc-film button")
    page.until("document.querySelector('.nc-film-said').textContent.startsWith('Epoch 1:')")


def test_the_picture_is_played_and_scrubbed_by_mouse_and_keys(site, page):
    page.open((site / "intro.html").as_uri(), still=True)
    page.run("document.querySelector('.nc-film input[type=range]').focus()")
    page.press("Home")
    assert epoch(page).startswith("Epoch 0:")
    before = page.run(POINTS)
    page.press("ArrowRight")
    assert epoch(page).startswith("Epoch 1:") and page.run(POINTS) != before
    assert "V 0." in page.run("document.activeElement.getAttribute('aria-valuetext')")
    page.run("document.querySelector('.nc-film button').focus()")
    for key, name in ((" ", "Pause"), ("Enter", "Play")):
        page.press(key)
        assert page.run("document.activeElement.textContent") == name
    page.click(".nc-film input[type=range]")
    assert epoch(page).startswith("Epoch 13:")  # the middle of the slider


def test_one_split_is_shown_or_both(site, page):
    page.open((site / "intro.html").as_uri(), still=True)
    shown = (
        "[...document.querySelectorAll('.nc-film-panels > div')].filter((one) => one.offsetHeight).map((one) => one.dataset.split).join()"
    )
    assert page.run(shown) == "train,test"
    page.click(".nc-film input[value=train]")
    assert page.run(shown) == "train"
    page.press("ArrowRight")
    assert page.run(shown) == "test"


# --- charts -----------------------------------------------------------------------------------------------------------------------------


def charts(page: Page, count: int) -> None:
    """Wait until all charts of a page are drawn: each is when it comes into view."""
    for number in range(count):
        page.run(f"document.querySelectorAll('.nc-explore')[{number}].scrollIntoView({{ block: 'center', behavior: 'instant' }})")
        page.until(f"'ready' in document.querySelectorAll('.nc-explore')[{number}].dataset")


def drawn(number: int) -> str:
    return f"document.querySelectorAll('.nc-explore')[{number}].querySelector('svg').innerHTML"


@pytest.mark.parametrize(("address", "count"), INTERACTIVE.items())
def test_every_control_changes_its_chart_by_keyboard_and_by_mouse(site, page, address, count):
    page.open((site / address).as_uri())
    assert page.run("document.querySelectorAll('.nc-explore').length") == count
    near = page.run("[...document.querySelectorAll('.nc-explore')].some((box) => box.getBoundingClientRect().top < innerHeight + 300)")
    assert near or not page.run("[...document.scripts].some((script) => script.src.includes('/vega'))")  # nothing before it is needed
    charts(page, count)
    for number in range(count):
        box = f"document.querySelectorAll('.nc-explore')[{number}]"
        names = page.run(f"[...new Set([...{box}.querySelectorAll('input, select')].map((control) => control.name))]")
        assert names
        for name in names:
            control = f"{box}.querySelector('[name=\"{name}\"]')"
            kind, before = page.run(f"{control}.type"), page.run(drawn(number))
            page.run(f"{control}.scrollIntoView({{ block: 'center', behavior: 'instant' }})")
            page.run(f"{control}.focus()")
            page.press("ArrowDown" if kind == "select-one" else "ArrowRight")
            changed(page, number, before)
            if kind == "radio":
                before = page.run(drawn(number))
                first = page.run(f"[...document.querySelectorAll('.nc-explore input')].indexOf({control})")
                page.click(".nc-explore input", first)
                changed(page, number, before)


def changed(page: Page, number: int, before: str) -> None:
    page.wait(lambda: page.run(drawn(number)) != before)


def test_pointing_at_a_line_tells_its_numbers(site, page):
    page.open((site / "chapters/train_test_collapse.html").as_uri())
    charts(page, 1)
    page.point(".nc-explore .mark-symbol path", 3)
    page.until("document.querySelector('#vg-tooltip-element.visible')?.textContent.includes('epoch')")


# --- every page -------------------------------------------------------------------------------------------------------------------------


def whole(page: Page, site, address: str, **window) -> None:
    page.open((site / address).as_uri(), **window)
    charts(page, INTERACTIVE.get(address, 0))


@pytest.mark.parametrize("address", EVERY)
def test_no_page_is_wider_than_a_phone(site, page, address):
    whole(page, site, address, width=390, height=844)
    assert page.run("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("address", EVERY)
def test_a_screen_reader_finds_its_way(site, page, address, dark):
    if not find_spec("axe_core_python"):
        (pytest.fail if os.environ.get("NCBOOK_BROWSER") == "required" else pytest.skip)("axe-core is not here: make lint installs it")
    whole(page, site, address, dark=dark, still=True)
    assert page.run("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    page.run((resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8") + ";0")
    script = """axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => violations
      .filter(({ impact }) => ["critical", "serious"].includes(impact))
      .map(({ id, nodes }) => [id, nodes.length, nodes[0].html.slice(0, 200), nodes[0].any[0]?.message]))"""
    assert page.run(script) == []


# --- tabs of profiles -------------------------------------------------------------------------------------------------------------------


def test_figures_turn_to_another_profile_together_by_mouse_and_by_keys(site, page):
    tabs = [name for name in EVERY if "sd-tab-set" in (site / name).read_text(encoding="utf-8")]
    assert tabs, "no chapter has a larger record"
    page.open((site / tabs[0]).as_uri())
    chosen = """[...document.querySelectorAll(".sd-tab-set")].map((set) =>
      [...set.querySelectorAll(":scope > input")].findIndex((one) => one.checked)).join("")"""
    shown = "[...document.querySelectorAll('.sd-tab-set img')].filter((one) => one.offsetParent).map((one) => one.src).join()"
    number, before = len(page.run(chosen)), page.run(shown)
    assert page.run(chosen) == "0" * number and number > 3
    page.click(".sd-tab-set > label", 1)
    page.until(f"{chosen} === {'1' * number!r}")
    assert page.run(shown) != before
    page.run("document.querySelector('.sd-tab-set > input:checked').focus()")
    page.press("ArrowLeft")
    page.until(f"{chosen} === {'0' * number!r}")
