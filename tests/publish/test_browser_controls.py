"""The built book in a reader's hands: the moving picture and every control, by mouse and by keyboard, in both themes and on a phone."""

import io
import json
import os
import re
from importlib import resources
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from chromium import Page

from ncbook.publish import pdf
from ncbook.publish.figures import chart

pytestmark = pytest.mark.slow
INTERACTIVE = {  # pages with charts, and how many
    "chapters/train_test_collapse.html": 1,
    "chapters/transfer_degradation.html": 2,
    "chapters/cascading_collapse.html": 3,
    "chapters/symmetric_generalization.html": 2,
    "chapters/rank_robustness.html": 1,
    "chapters/wide_networks.html": 1,
    "chapters/many_classes.html": 1,
    "chapters/unconstrained_features.html": 1,
    "chapters/low_rank_bias.html": 2,
    "chapters/shallow_convergence.html": 1,
}
GENERATED = ["search.html", "genindex.html", "py-modindex.html"]  # pages that no source has
EVERY = [*(f"{name}.html" for name in pdf.contents()), *GENERATED]
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
            kind = page.run(f"{control}.type")
            keep(page, number)
            page.run(f"{control}.scrollIntoView({{ block: 'center', behavior: 'instant' }})")
            page.run(f"{control}.focus()")
            at_end = page.run(f"{control}.type === 'range' && {control}.value === {control}.max")
            page.press("ArrowDown" if kind == "select-one" else "ArrowLeft" if at_end else "ArrowRight")
            changed(page, number)
            if kind == "radio":
                keep(page, number)
                first = page.run(f"[...document.querySelectorAll('.nc-explore input')].indexOf({control})")
                page.click(".nc-explore input", first)
                changed(page, number)


def keep(page: Page, number: int) -> None:
    """Remember what a chart shows, in the browser: it may be megabytes."""
    page.run(f"void (window.kept = {drawn(number)})")


def changed(page: Page, number: int) -> None:
    page.until(f"{drawn(number)} !== window.kept")


def test_pointing_at_a_line_tells_its_numbers(site, page):
    page.open((site / "chapters/train_test_collapse.html").as_uri())
    charts(page, 1)
    page.point(".nc-explore .mark-symbol path", 3)
    page.until("document.querySelector('#vg-tooltip-element.visible')?.textContent.includes('epoch')")


@pytest.mark.parametrize("address", INTERACTIVE)
def test_a_control_says_its_name_once_and_a_chart_writes_powers_of_ten(site, page, address):
    whole(page, site, address)
    said = """[...document.querySelectorAll(".nc-explore .vega-bind")].flatMap((bind) => {
      const name = bind.querySelector(".vega-bind-name").textContent;
      const values = [...bind.querySelectorAll("option, .vega-bind-radio label")].map((one) => one.textContent);
      return values.filter((text) => text.startsWith(`${name} `));
    })"""
    assert page.run(said) == []
    texts = "[...document.querySelectorAll('.nc-explore text, .nc-explore output, .nc-explore option')].map((one) => one.textContent)"
    assert [text for text in page.run(texts) if re.search(r"\de[+-−]?\d", text)] == []
    checked = "[...document.querySelectorAll('.nc-explore .vega-bind-radio')].map((group) => group.querySelectorAll(':checked').length)"
    assert set(page.run(checked)) <= {1}  # none switches off those of another chart


def test_numbers_are_written_as_in_the_text(site, page):
    """A chart of numbers that are small and large, put into a page in place of its own."""
    page.open((site / "chapters/train_test_collapse.html").as_uri())
    table = pd.DataFrame({"x": [1e-9, 1e-5, 1.0, 1e7], "value": [-1e-7, 0.00025, 12340.0, 2.5e6], "one": ["a"] * 4})
    spec = chart(table, x="x", y={"value": "value"}, colour="one", choose={}, log="x")
    page.run(f"document.querySelector('.nc-explore script').textContent = {json.dumps(json.dumps(spec))}; 0")
    charts(page, 1)
    page.run("document.querySelector('.nc-explore details').open = true; 0")
    cells = (
        "[...document.querySelectorAll('.nc-explore tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent).join(' | '))"
    )
    page.until(f"{cells}.length === 4")
    assert page.run(cells) == ["a | 10⁻⁹ | −10⁻⁷", "a | 10⁻⁵ | 0.00025", "a | 1 | 12340", "a | 10⁷ | 2.5 × 10⁶"]
    assert page.run("getComputedStyle(document.querySelector('.nc-explore thead')).display") != "none"
    shown = page.run("[...document.querySelectorAll('.nc-explore .role-axis-label text')].map((one) => one.textContent)")
    assert "10⁻⁵" in shown and all(re.fullmatch(r"−?[\d.]+|([\d.]+ × )?10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+", text) for text in shown)


def test_verdicts_follow_the_reading_by_mouse_and_by_keyboard(site, page):
    page.open((site / "chapters/cascading_collapse.html").as_uri())
    charts(page, 3)
    box = "document.querySelectorAll('.nc-explore')[1]"
    spec = json.loads(page.run(f"{box}.querySelector('script').textContent"))
    names = {param["bind"]["name"]: param["name"] for param in spec["params"]}

    def follows() -> bool:
        """What stands in the table is what its own controls say; whether that is the declared reading."""
        control = f"(name) => ({box}.querySelector(`select[name=${{name}}]`) ?? {box}.querySelector(`[name=${{name}}]:checked`)).value"
        chosen = {words: page.run(f"({control})({names[words]!r})") for words in ("network", "layer read", "positions")}
        (told,) = [one for one in spec["usermeta"]["verdicts"] if one["when"] == chosen]
        cells = f"[...{box}.querySelectorAll('.nc-explore-verdicts tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
        page.wait(lambda: page.run(cells) == told["rows"])
        caption = page.run(f"{box}.querySelector('.nc-explore-verdicts caption').textContent")
        assert told["instead_of"] in caption and ("declared reading" in caption) == (not told["instead_of"])
        return not told["instead_of"]

    assert follows() and page.run(f"{box}.querySelector('.nc-explore-verdicts caption').ariaLive") == "polite"
    page.run(f"{box}.querySelector('[name={names['network']}]').focus()")
    page.press("ArrowDown" if page.run("document.activeElement.type") == "select-one" else "ArrowRight")
    follows()
    page.run(f"{box}.querySelector('[name={names['layer read']}]').focus()")
    page.press("ArrowDown")
    assert not follows()
    place = page.run(f"[...document.querySelectorAll('.nc-explore input')].indexOf({box}.querySelector('[value=pooled]'))")
    page.click(".nc-explore input", place)
    assert not follows()


def test_epochs_are_scrubbed_with_a_slider(site, page):
    page.open((site / "chapters/transfer_degradation.html").as_uri())
    charts(page, 2)
    slider, points = (
        "document.querySelector('.nc-explore input[type=range]')",
        "document.querySelectorAll('.nc-explore .mark-symbol path').length",
    )
    spec = json.loads(page.run("document.querySelector('.nc-explore script').textContent"))
    words = next(iter(spec["usermeta"]["sliders"].values()))
    assert page.run(f"{slider}.value") == str(len(words) - 1) and page.run(f"{slider}.getAttribute('aria-valuetext')") == words[-1]
    whole_path, axis = page.run(points), page.run("document.querySelector('.nc-explore .role-axis-label').innerHTML")
    page.run(f"{slider}.focus()")
    page.press("Home")
    page.until(f"{points} < {whole_path} && {slider}.getAttribute('aria-valuetext') === '0'")
    untrained = page.run(points)
    page.click(".nc-explore input[type=range]")  # its middle
    page.until(f"{untrained} < {points} && {points} < {whole_path}")
    assert page.run("document.querySelector('.nc-explore .role-axis-label').innerHTML") == axis  # lines grow, and nothing else moves


@pytest.mark.parametrize("address", INTERACTIVE)
def test_each_chart_follows_a_still_figure(site, page, address):
    page.open((site / address).as_uri())
    stills = """[...document.querySelectorAll(".nc-explore")].map((box) => [...document.querySelectorAll("article figure img")]
      .some((still) => still.compareDocumentPosition(box) & Node.DOCUMENT_POSITION_FOLLOWING))"""
    assert page.run(stills) == [True] * INTERACTIVE[address]


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("address", INTERACTIVE)
def test_a_chart_is_whole_and_says_what_it_is(site, page, address, width):
    whole(page, site, address, width=width)
    script = """[...document.querySelectorAll(".nc-explore-chart svg")].map((svg) => {
      const { left, right, bottom } = svg.getBoundingClientRect();
      const cut = [...svg.querySelectorAll("text")].filter((text) => {
        const box = text.getBoundingClientRect();
        return box.left < left - 1 || box.right > right + 1 || box.bottom > bottom + 1;
      });
      return [svg.closest("[aria-label]").ariaLabel.length > 20, cut.map((text) => text.textContent)];
    })"""
    assert page.run(script) == [[True, []]] * INTERACTIVE[address]


def test_the_line_of_a_law_is_the_least_squares_line_of_the_layers_chosen(site, page):
    page.open((site / "chapters/cascading_collapse.html").as_uri())
    charts(page, 3)
    said = "[...document.querySelectorAll('.nc-explore')[2].querySelectorAll('.mark-text text')].map((one) => one.textContent)"
    spec = json.loads(page.run("document.querySelectorAll('.nc-explore')[2].querySelector('script').textContent"))
    rows = pd.read_csv(io.StringIO(spec["data"]["values"]))
    chosen = {param["name"]: param["value"] for param in spec["params"]}
    rows = rows[(rows[[name for name in chosen if name in rows]] == pd.Series({k: v for k, v in chosen.items() if k in rows})).all(axis=1)]
    for first in (0, 2):
        for name, one in rows[rows.x >= first].groupby("series"):
            slope, _ = np.polyfit(one.x, np.log10(one.y0), 1)
            square = np.corrcoef(one.x, np.log10(one.y0))[0, 1] ** 2
            page.until(f"{said}.includes({f'{name}: {slope:.3f} decades a layer, R² = {square:.3f}'.replace('-', '−')!r})")
        page.run("document.querySelectorAll('.nc-explore')[2].querySelector('input[name=first]').focus()")
        for _ in range(2):
            page.press("ArrowRight")


def test_the_numbers_of_a_chart_are_a_table_to_those_without_a_mouse(site, page):
    page.open((site / "chapters/train_test_collapse.html").as_uri())
    charts(page, 1)
    rows, points = (f"document.querySelectorAll('.nc-explore {path}').length" for path in ("tbody tr", ".mark-symbol.role-mark path"))
    assert page.run(rows) == 0
    page.run("document.querySelector('.nc-explore details summary').focus()")
    page.press("Enter")
    page.until(f"{rows} > 0")
    before = page.run(points)
    assert page.run(rows) == before
    assert page.run("[...document.querySelectorAll('.nc-explore th')].map((head) => head.textContent).includes('epoch')")
    page.run("document.querySelector('.nc-explore [name=seed]').focus()")
    page.press("ArrowDown")  # one seed of all: the table follows
    page.until(f"{rows} > 0 && {rows} < {before} && {rows} === {points}")


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


def test_the_list_of_pages_is_whole(site):
    assert {str(path.relative_to(site)) for path in site.rglob("*.html") if "_static" not in path.parts} - {"index.html"} == set(EVERY)


@pytest.mark.parametrize("address", ["intro.html", "ledger.html"])
def test_paper_is_white_whatever_was_chosen(site, page, address):
    page.open((site / address).as_uri())
    page.run("Object.assign(localStorage, { mode: 'dark', theme: 'dark' }); 0")
    try:
        page.open((site / "search.html").as_uri())
        page.open((site / address).as_uri())
        shades = """["h1", "article p", "body"].map((path) => getComputedStyle(document.querySelector(path)))
          .map(({ color, backgroundColor }, place) => (place < 2 ? color : backgroundColor).match(/\\d+/g).slice(0, 3).map(Number))"""
        page.run(f"addEventListener('beforeprint', () => {{ window.printed = {shades}; }}); 0")
        page.call("Page.printToPDF")
        heading, text, paper = page.run("window.printed")
        assert max(heading) < 100 and max(text) < 100 and min(paper) == 255
        assert page.run("document.documentElement.dataset.theme") == "dark"
    finally:
        page.run("localStorage.clear()")


@pytest.mark.parametrize("words", ["collapse", "BibTeX"])
def test_a_search_from_disk_finds_pages(site, page, words):
    page.open(f"{(site / 'search.html').as_uri()}?q={words}")
    page.until("document.querySelectorAll('#search-results ul.search li a').length && !document.querySelector('.search-summary .dots')")


def test_a_formula_is_no_stop_of_the_tab_key(site, page):
    page.open((site / "metrics.html").as_uri())
    page.until("document.querySelectorAll('mjx-container').length > 4")
    assert page.run("document.querySelectorAll('mjx-container[tabindex=\"0\"]').length") == 0


def test_on_a_phone_commands_and_estimates_are_seen_and_nothing_lies_on_them(site, page):
    page.call("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        page.open((site / "chapters/train_test_collapse.html").as_uri(), width=390, height=844)
        for cut in (".nc-made pre", "table:has(td > p > br) td:nth-child(3)"):
            boxes = f"[...document.querySelectorAll('{cut}')]"
            assert page.run(f"{boxes}.length") and page.run(f"{boxes}.filter((one) => one.scrollWidth > one.clientWidth).length") == 0
            assert page.run(f"Math.max(...{boxes}.map((one) => one.getBoundingClientRect().right))") <= 390
        assert page.run("getComputedStyle(document.querySelector('article figure > a'), '::before').content").startswith('"')
        assert page.run("getComputedStyle(document.querySelector('.nc-made button.copybtn')).opacity") == "1"
        assert page.run("getComputedStyle(document.querySelector('#pst-back-to-top')).display") == "none"
        broken = "[...document.querySelectorAll('th code')].filter((name) => name.getClientRects().length > 1).length"
        assert page.run("document.querySelectorAll('th code').length") > 0 == page.run(broken)
    finally:
        page.call("Emulation.setTouchEmulationEnabled", enabled=False)


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
