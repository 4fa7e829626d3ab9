"""The built book in a real browser: formulas typeset without a network, figures drawn in light and dark, nothing loaded from elsewhere."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest

from ncbook import paths

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
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


@pytest.fixture(scope="module")
def site():
    site = paths.build() / "html"
    for missing, what in ((not CHROMIUM, "no chromium here"), (not (site / "index.html").is_file(), "the book is not built: make book")):
        if missing and os.environ.get("NCBOOK_BROWSER") == "required":
            pytest.fail(what)
        elif missing:
            pytest.skip(what)
    return site


def chromium(page, profile, *flags):
    """Run the browser on a page with no network at all; its standard output."""
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    command = [CHROMIUM, *FLAGS, offline, f"--user-data-dir={profile}", "--virtual-time-budget=8000", *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


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
    for notebook in (paths.build() / "stage").rglob("*.ipynb"):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        figures[notebook.stem] = [cell["metadata"]["mystnb"]["figure"]["name"] for cell in cells if "mystnb" in cell["metadata"]]
    assert len(figures) >= 4 and all(figures.values())
    check(site, figures)
