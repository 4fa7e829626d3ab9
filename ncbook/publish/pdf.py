"""A printable edition: Chromium prints the pages of the built book, in the order of its table of contents, and they are joined."""

import html
import os
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import which

import yaml

from ncbook import paths
from ncbook.errors import InputError

BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "chrome"),
    *(f"/Applications/{name}.app/Contents/MacOS/{name}" for name in ("Chromium", "Google Chrome")),
)
PATIENCE = 180  # seconds for a page
# the time of the page runs ahead of the clock until formulas are set
FLAGS = ["--headless", "--disable-gpu", "--no-pdf-header-footer", "--virtual-time-budget=20000"]


def write(site: Path) -> Path:
    """Print the book in `site` to ``book/_build/book.pdf``; an `InputError` where there is no book, no Chromium, or a
    page that cannot be printed."""
    browser = next(filter(None, map(which, BROWSERS)), None)
    if not (site / "index.html").is_file():
        raise InputError("the book is not built yet: `make book`, or `make publish`.")
    if browser is None:
        raise InputError(
            "Chromium prints the pages, and it is not here; on Debian and Ubuntu: sudo apt install chromium; "
            "on macOS: brew install --cask chromium"
        )
    pages, target = contents(), paths.build() / "book.pdf"
    if lacking := [name for name in pages if not (site / f"{name}.html").is_file()]:
        raise InputError(f"the built book lacks {', '.join(lacking)}; `make book` builds what book/_toc.yml lists.")
    try:
        from pypdf import PdfWriter
    except ImportError:
        raise InputError("pypdf joins the pages, and it is not here: pip install pypdf") from None
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        printed = pool.map(lambda name: _print(browser, site / f"{name}.html", Path(folder)), pages)
        with PdfWriter() as book:
            for name, page in zip(pages, printed, strict=True):
                book.append(page, outline_item=_title(site / f"{name}.html"))
            book.write(part := target.with_name(".book.pdf.part"))
        part.replace(target)
    return target


def contents() -> list[str]:
    """The pages in the order of ``book/_toc.yml``, without their suffix."""
    toc = yaml.safe_load((paths.root() / "book" / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]


def _title(page: Path) -> str:
    found = re.search(r"<title>(.*?)</title>", page.read_text(encoding="utf-8"), re.DOTALL)
    return html.unescape(" ".join(found[1].split())).split(" — ")[0] if found else page.stem


def _print(browser: str, page: Path, folder: Path) -> Path:
    printed = folder / f"{page.stem}.pdf"
    profile = folder / f"{page.stem}-profile"
    alone = ["--no-sandbox"] * (os.name == "posix" and os.geteuid() == 0)  # for root Chromium has no sandbox, and does not start with one
    command = [browser, *FLAGS, *alone, f"--user-data-dir={profile}", f"--print-to-pdf={printed}", page.as_uri()]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise InputError(f"{page.name} was not printed within {PATIENCE} s by {browser}") from None
    if not printed.is_file():
        raise InputError(
            f"{browser} did not print {page.name}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no word why'}"
        )
    return printed
