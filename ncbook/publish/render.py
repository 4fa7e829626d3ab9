"""From executed notebooks to the HTML book: stage the pages, build them with Jupyter Book without executing anything, check them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ncbook import paths, settings
from ncbook.errors import InputError
from ncbook.publish import chapter_page, cost, film, front, ledger, sealed, trust
from ncbook.publish.execute import Chapter, console
from ncbook.runs.code import PACKAGE, module_code
from ncbook.runs.digest import digest

DOCSTRINGS, WITHOUT = "api.md", ("chapters", "publish", "cli")  # the page that is made of them, and where it looks for none
OF_PAGES = ("chapters/", "_generated/", "_static/cards/", "_static/film/")  # what some pages show
COPIES = ("_downloads", "_images", "_static")  # in which Sphinx puts what there is, and leaves what there was
OLD, NEW = 946_684_800, 2_147_483_647  # in 2000, and in 2038: the last second that all file systems keep


def build(chapters: list[Chapter], beside: Sequence[Chapter] = ()) -> Path:
    """Build the book from executed chapters and put it in place whole; returns the page to open. Nothing changed means nothing built.

    The figures and verdicts of the chapters `beside`, which are the same ones under other profiles, stand next to those of `chapters`.
    """
    stage, site = paths.build() / "stage", paths.build() / "html"
    figures = _stage(chapters, beside, stage)
    sources = _sources(stage)
    stamp = digest(sources)
    page = site / "index.html"
    if page.is_file() and (site / ".stamp").is_file() and (site / ".stamp").read_text() == stamp:
        console.print("the book: up to date")
        return page
    output = paths.build() / "jupyter-book"
    _prepare(output, stage, sources)
    made = _jupyter_book(stage, output)
    check(made, figures)
    sealed.close(output, json.dumps(sources))
    new, old = site.with_name("html.new"), site.with_name("html.old")
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        shutil.copytree(made, new, copy_function=shutil.copyfile)  # the dates in there say what changed, and nothing to a browser
        (new / ".stamp").write_text(stamp)
        if site.exists():
            site.rename(old)
        new.rename(site)
    finally:
        if not site.exists() and old.exists():
            old.rename(site)
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
    return page


def check_place() -> None:
    """An `InputError` where Jupyter Book cannot build: it takes these letters of a path for a pattern, and then finds no page."""
    if letters := sorted(set("[]*?") & set(str(paths.build()))):
        raise InputError(f"Jupyter Book finds no page in a folder with {' or '.join(letters)} in its path; rename or move {paths.root()}.")


def _stage(chapters: list[Chapter], beside: Sequence[Chapter], stage: Path) -> dict[str, list[str]]:
    """Copy the book's sources and the executed chapters to `stage`; returns the names of the figures of each chapter."""
    book = paths.root() / "book"
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(book, stage, ignore=shutil.ignore_patterns("_build", "chapters", ".ipynb_checkpoints"))
    shutil.copy(paths.root() / "_config.yml", stage)
    (stage / "chapters").mkdir()
    figures = {}
    for chapter in chapters:
        executed = json.loads((chapter.folder / f"{chapter.name}.ipynb").read_text(encoding="utf-8"))
        page, figures[chapter.name] = chapter_page.page(chapter, executed, beside)
        (stage / "chapters" / f"{chapter.name}.ipynb").write_text(json.dumps(page, indent=1), encoding="utf-8")
    for chapter in [*chapters, *beside]:
        chapter_page.lay(chapter, stage)
    asking = [chapter for chapter in chapters if chapter.name != film.CHAPTER]  # that one shows, and judges nothing
    pictures = front.thumbnails(asking, stage / "_static" / "cards")
    pages = {**ledger.pages(chapters, beside), **front.pages(asking, pictures), **trust.pages(chapters), "film": film.page(chapters, stage)}
    pages["cost"] = cost.page()
    generated = {f"{name}.md": text for name, text in pages.items()} | ledger.tables(chapters, beside)
    (stage / "_generated").mkdir(exist_ok=True)
    for name, text in generated.items():
        (stage / "_generated" / name).write_text(text, encoding="utf-8")
    return figures


def _sources(stage: Path) -> dict[str, str]:
    """Digests of all that the pages are made from: what is staged, docstrings, the extension that Sphinx takes from this package, and what
    is installed."""
    sources = {path.relative_to(stage).as_posix(): digest(path.read_bytes().hex()) for path in stage.rglob("*") if path.is_file()}
    if DOCSTRINGS in sources:
        modules = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] not in WITHOUT]
        sources[DOCSTRINGS] = digest([sources[DOCSTRINGS], *(path.read_text(encoding="utf-8") for path in modules)])
    sources["the extension"] = module_code(PACKAGE / "publish" / "site.py")
    sources["installed"] = digest([sys.version, *sorted(f"{found.name} {found.version}" for found in distributions())])
    return sources


def _prepare(output: Path, stage: Path, sources: dict[str, str]) -> None:
    """Keep of the last build what Sphinx may go on from, which is nothing unless it was whole and some pages are all that changed.

    Sphinx reads anew what is dated after its last build. So what changed gets a date that is, and the rest one that is not: a copy, or a
    clock that was set back, says nothing.
    """
    before = json.loads(sealed.made_from(output) or "{}")
    changed = {name for name in before.keys() | sources.keys() if before.get(name) != sources.get(name)}
    if not all(name.endswith(".md") or name.startswith(OF_PAGES) for name in changed):
        shutil.rmtree(output, ignore_errors=True)
    for folder in COPIES:  # from here on the output is not what was sealed: of a build that is killed or refused nothing is kept
        shutil.rmtree(output / "_build" / "html" / folder, ignore_errors=True)
    new = {stage / name for name in changed}
    for path in [*stage.rglob("*"), *(output / "_build" / "jupyter_execute").rglob("*")]:  # the second from the first, and named by content
        os.utime(path, (date := NEW if path in new else OLD, date))


def _jupyter_book(stage: Path, output: Path) -> Path:
    """Run Jupyter Book on the staged sources, warnings as errors; the folder of HTML."""
    log = paths.build() / "jupyter-book.log"
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(stage), "--path-output", str(output)]
    console.print("building the pages …")
    done = subprocess.run(
        [*command, "-W", "-n", "--keep-going"],
        check=False,
        text=True,
        encoding="utf-8",
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=settings.environment(PYTHONWARNINGS="ignore", NO_COLOR="1"),
    )
    log.write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        complaints = [line for line in done.stdout.splitlines() if "WARNING" in line or "ERROR" in line]
        raise InputError(
            "Jupyter Book refused the pages:\n" + "\n".join(complaints or done.stdout.splitlines()[-15:]) + f"\n(whole log: {log})"
        )
    return output / "_build" / "html"


def check(site: Path, figures: dict[str, list[str]]) -> None:
    """Check a built book: every figure is there with image, alt text and its three downloads, every claim in the ledger, every link whole.

    `figures` names the figures that each chapter's page must hold. Raises `InputError` with the list of what is wrong.
    """
    pages = {path.relative_to(site): _Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}
    wrong = []
    for chapter, names in figures.items():
        page = pages.get(Path("chapters") / f"{chapter}.html")
        if page is None:
            wrong.append(f"the page of {chapter} is missing")
            continue
        if not names:
            wrong.append(f"{chapter} has no figure")
        for name in names:
            if name not in page.ids:
                wrong.append(f"{chapter}: figure {name} is missing")
            for kind in ("csv", "svg", "png"):
                if not any(link.endswith(f"/{name}.{kind}") for link in page.links):
                    wrong.append(f"{chapter}: figure {name} has no link to its {kind.upper()}")
    ids = pages[Path("ledger.html")].ids if Path("ledger.html") in pages else set()
    wrong += [f"the ledger lacks claim {claim}" for claim in ledger.claim_ids(figures) if f"claim-{claim}" not in ids]
    for path, page in pages.items():
        wrong += [f"{path}: an image has no alt text: {source}" for source in page.unlabelled]
        wrong += [f"{path}: broken link {link}" for link in page.links if _broken(site, path, link, pages)]
        wrong += [f"{path}: loads from the network: {link}" for link in page.loaded if urlsplit(link).netloc]
    if wrong:
        raise InputError("the built book is not whole:\n- " + "\n- ".join(sorted(set(wrong))))


def _broken(site: Path, page: Path, link: str, pages: dict) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or (link.startswith("#") and not parts.fragment):
        return False
    target = (site / page.parent / unquote(parts.path)).resolve() if parts.path else (site / page)
    if not target.exists():
        return True
    inside = pages.get(target.relative_to(site.resolve())) if target.is_relative_to(site.resolve()) else None
    return bool(parts.fragment and inside is not None and unquote(parts.fragment) not in inside.ids)


class _Page(HTMLParser):
    """What a page holds: ids, links, files that it loads, images without alt text."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids, self.links, self.loaded, self.unlabelled = set(), [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids.add(given.get("id"))
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        source = given.get("src") or (
            given.get("href") if tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon") else None
        )
        if source and not source.startswith("data:"):
            self.links.append(source)
            self.loaded.append(source)
        if tag == "img" and not (given.get("alt") or "").strip():
            self.unlabelled.append(source)
