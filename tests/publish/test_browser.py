"""The built book in a real browser, without a network: formulas, figures in light and dark, the opening page and the ledger on a phone."""

import gzip
import html
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from chromium import CHROMIUM

from ncbook import paths

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ORANGE = np.array([213, 94, 0])  # the test curves of every chapter

pytestmark = pytest.mark.slow


def chromium(page, profile, *flags):
    """Run the browser on a page with no network at all; its standard output."""
    return run_chromium(page, profile, *flags).stdout


def run_chromium(page, profile, *flags):
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    command = [CHROMIUM, *FLAGS, offline, f"--user-data-dir={profile}", "--virtual-time-budget=8000", *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def screenshot(page, tmp_path, *flags):
    from PIL import Image

    picture = tmp_path / "page.png"
    chromium(page, tmp_path / "profile", "--window-size=1300,7000", f"--screenshot={picture}", *flags)
    with Image.open(picture) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_formulas_are_typeset_offline(site, tmp_path):
    for page in (site / "chapters" / "train_test_collapse.html", site / "metrics.html"):
        dom = chromium(page, tmp_path / page.stem, "--dump-dom")
        assert dom.count("<mjx-container") >= 5, page
        assert "<mjx-merror" not in dom and "data-mjx-error" not in dom, page


def test_figures_are_drawn_in_light_and_dark(site, tmp_path):
    page = site / "chapters" / "train_test_collapse.html"
    light = screenshot(page, tmp_path)
    dark = screenshot(page, tmp_path, "--blink-settings=preferredColorScheme=0")
    near_orange = [(np.abs(picture - ORANGE).sum(axis=2) < 60).sum() for picture in (light, dark)]
    assert min(near_orange) > 1000, near_orange
    assert np.median(light[..., 0]) > 200 and np.median(dark[..., 0]) < 80


def test_every_page_opens_and_the_ledger_links_to_figures_that_are_there(site):
    from ncbook.publish.render import check

    figures = {}
    for notebook in (paths.build() / "stage" / "chapters").glob("*.ipynb"):  # the folders below hold sources to download
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        alone = [cell["metadata"]["mystnb"]["figure"]["name"] for cell in cells if "mystnb" in cell["metadata"]]
        in_tabs = re.findall(r"^:name: (.+)$", "\n".join(cell["source"] for cell in cells if cell["id"].startswith("made-")), re.MULTILINE)
        figures[notebook.stem] = alone + in_tabs
    assert len(figures) >= 4 and all(figures.values())
    check(site, figures)


INFORMATION = re.compile(r'"\[(PST|togglebutton)\]: (Changed|Scrolled|Adding) ')  # what the theme tells every console

# A page in a frame as wide as a phone or screen. A test's script runs beside it, with its window `page`, and leaves there what it returns.
FRAME = """<!doctype html><iframe src="{address}" width="{width}" height="{height}" style="border:0"></iframe><pre></pre><script>
onload = () => setTimeout(async () => {{
  const page = document.querySelector("iframe").contentWindow, all = (path) => [...page.document.querySelectorAll(path)];
  document.querySelector("pre").textContent = JSON.stringify(await (async () => {{ {script} }})());
}}, 1500);</script>"""


def told(tmp_path, address: str, script: str, width: int = 390, height: int = 844):
    """What a script says of a page that is shown that wide; fails on an error that reaches the console."""
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(address=address, width=width, height=height, script=script), encoding="utf-8")
    flags = ["--allow-file-access-from-files", "--enable-logging=stderr", "--hide-scrollbars", "--dump-dom"]
    done = run_chromium(frame, tmp_path / "profile", *flags)
    errors = [line for line in done.stderr.splitlines() if "CONSOLE" in line and not INFORMATION.search(line)]
    assert not errors, errors
    return json.loads(html.unescape(re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)[1]))


@pytest.mark.parametrize(("page", "screens"), [("intro.html", 6), ("ledger.html", 15)])
def test_the_opening_page_and_the_ledger_are_short_on_a_phone(site, tmp_path, page, screens):
    script = "const whole = page.document.documentElement; return [whole.scrollHeight, whole.scrollWidth]"
    height, width = told(tmp_path, (site / page).as_uri(), script)
    assert 844 < height <= screens * 844 and width == 390, (height, width)


@pytest.mark.parametrize("page", ["intro.html", "ledger.html", "metrics.html", "chapters/train_test_collapse.html"])
def test_a_page_is_light_and_loads_nothing_from_elsewhere(site, tmp_path, page):
    script = """return all("script[src], link[rel=stylesheet], link[rel=icon], img").map((element) => element.src || element.href)"""
    loaded = {Path(unquote(urlsplit(name).path)) for name in told(tmp_path, (site / page).as_uri(), script, width=1400)}
    assert loaded and all(file.is_relative_to(site) for file in loaded)
    assert not any("thebe" in file.name or file.name == "fontawesome.js" for file in loaded)
    weight = sum(len(gzip.compress(file.read_bytes())) for file in {*loaded, site / page})
    assert weight <= 600_000 if page in ("intro.html", "ledger.html") else 1_500_000, weight  # with the icons' font, 0.2 MB more
    assert any("mathjax" in str(file) for file in loaded) == (page not in ("intro.html", "ledger.html"))


def test_the_ledger_is_filtered_and_sorted(site, tmp_path):
    script = """
    const rows = () => all(".nc-claims tbody tr").filter((row) => !row.hidden), select = all(".nc-controls select")[0];
    const change = (field, value) => { field.value = value; field.dispatchEvent(new page.Event("input", { bubbles: true })); };
    const found = { all: rows().length, said: [] };
    for (const { value } of [...select.options].slice(1)) {
      change(select, value);
      found[value] = new Set(rows().map((row) => row.dataset.verdict)).size;
    }
    change(select, "");
    change(all(".nc-controls input")[0], "SEPARATION geometric");
    found.words = rows().length;
    change(all(".nc-controls input")[0], "geometric");
    found.word = rows().map((row) => row.cells[0].textContent);
    change(all(".nc-controls input")[0], "");
    const heads = all(".nc-claims th button");
    for (const [column, name] of [[0, "claim"], [2, "share"]]) {
      found[name] = [];
      for (let i = 0; i < 2; i++) {
        heads[column].click();
        const cells = rows().map((row) => row.cells[column]);
        found[name].push([all(".nc-claims th")[column].ariaSort, cells.map((cell) => column ? cell.dataset.value : cell.textContent)]);
      }
    }
    heads[0].focus();
    found.outline = page.getComputedStyle(heads[0]).outlineStyle;
    return found;"""
    found = told(tmp_path, (site / "ledger.html").as_uri(), script, width=1400)
    from ncbook.chapters import entries

    claims = [entry for entry in entries() if entry.get("kind", "claim") == "claim"]  # controls and checks stand in the full entries
    assert found["all"] == len(claims) and all(found[word] == 1 for word in ("supported", "contradicted", "inconclusive"))
    assert found["words"] == 0 and len(found["word"]) >= 2 and all("geometric" in text for text in found["word"])
    (up, claims), (down, backwards) = found["claim"]
    assert (up, down) == ("ascending", "descending") and claims == backwards[::-1] and claims[0].startswith("A")
    shares = [float(value) for value in found["share"][0][1] if value]
    assert shares == sorted(shares) and shares[0] < shares[-1] and not found["share"][0][1][-1]


def test_a_link_to_a_claim_opens_its_entry(site, tmp_path):
    address = f"{(site / 'ledger.html').as_uri()}#claim-cascade-deepens"
    script = """
    const entry = page.document.getElementById("claim-cascade-deepens");
    const open = all("article details").filter((fold) => fold.open);
    return [open.length, open.includes(entry.closest("details")), entry.getBoundingClientRect().top]"""
    opened, this_one, top = told(tmp_path, address, script)
    assert opened == 1 and this_one and 0 <= top < 844


def test_the_opening_page_leads_on(site, tmp_path):
    script = """return [all(".nc-card h3 a").map((a) => a.getAttribute("href")), all(".nc-card img").filter((i) => i.alt).length,
      all(".nc-doors a").length, all(".nc-terms svg").length, all(".nc-score b").map((b) => Number(b.textContent))]"""
    cards, pictures, doors, terms, (claims, *verdicts) = told(tmp_path, (site / "intro.html").as_uri(), script)
    from ncbook.chapters import entries

    assert len(cards) == pictures == len({entry["chapter"] for entry in entries()}) and all((site / card).is_file() for card in cards)
    assert (doors, terms) == (3, 5) and claims == sum(verdicts) > 0


def test_a_figure_waits_in_its_place(site, tmp_path):
    """A link to the last figure leads there, although the images before it are loaded only when they come into view."""
    page = site / "chapters" / "train_test_collapse.html"
    last = re.findall(r'<figure[^>]*id="([^"]+)"', page.read_text(encoding="utf-8"))[-1]
    script = """
    const images = all("article figure img");
    return [images.map((i) => [i.loading, i.width / i.height, i.naturalWidth ? i.naturalWidth / i.naturalHeight : 0]), page.innerHeight,
      all("article figure").at(-1).getBoundingClientRect().top]"""
    images, height, top = told(tmp_path, f"{page.as_uri()}#{last}", script, width=1400)
    assert {loading for loading, *_ in images} == {"lazy"} and -20 <= top < height
    assert all(natural == 0 or abs(shown / natural - 1) < 0.02 for _, shown, natural in images) and images[-1][2]
