"""Copies of the book's sources for tests to change and build."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

BOOK = Path(__file__).resolve().parents[1]
CHAPTERS = Path("ncbook") / "chapters"  # of which a checkout has the claims and profiles; the code is that of the package

TINY = {
    "loss": ["squared"],
    "train_size": [50, 100],
    "epochs": 10,
    "measurements": 4,
    "batch_size": 20,
    "seeds": 2,
    "linear_size": 50,
    "generated_size": 50,
    "generated_test_size": 50,
}


class Checkout:
    """A copy of the book's sources that a test may change and build."""

    def __init__(self, root: Path, chapters: list[str] | None = None):
        """With all chapters, or with the ones named."""
        self.root = root
        shutil.copytree(BOOK / "book", root / "book", ignore=shutil.ignore_patterns("_build", ".ipynb_checkpoints"))
        shutil.copytree(
            BOOK / CHAPTERS, root / CHAPTERS, ignore=lambda folder, names: [n for n in names if n.endswith(".py") or n == "__pycache__"]
        )
        shutil.copy(BOOK / "_config.yml", root)
        for notebook in (root / "book" / "chapters").glob("*.ipynb"):
            if chapters is not None and notebook.stem not in chapters:
                notebook.unlink()

    def cut(self, chapter: str) -> None:
        """Make the smallest book of a real chapter: of its page, the code down to the first figure, the verdicts and the provenance."""
        path = self.root / "book" / "chapters" / f"{chapter}.ipynb"
        content = json.loads(path.read_text())
        cells, code = content["cells"], ["".join(cell["source"]) for cell in content["cells"]]
        shows = next(number for number, text in enumerate(code) if "chapter.show(" in text)
        headings = [{**cells[code.index(text)], "source": text.partition("\n")[0]} for text in code if re.match("# |## Verdicts", text)]
        kept = [cell for cell in cells[: shows + 1] if cell["cell_type"] == "code"]
        ends = [cells[code.index(f"chapter.{last}()")] for last in ("judge", "provenance")]
        path.write_text(json.dumps({**content, "cells": [headings[0], *kept, headings[1], *ends]}))
        figure = re.search(r'chapter\.show\(\s*figure,\s*"([\w-]+)"', code[shows])[1]
        claims = self.root / CHAPTERS / chapter / "claims.yml"
        claims.write_text(re.sub(r"(?m)^  figure: .*", f"  figure: {figure}", claims.read_text()))
        self.pages(f"chapters/{chapter}", "ledger", "bibliography")
        with (self.root / "book" / "intro.md").open("a") as intro:  # what the generated parts refer to
            intro.write("\n(how-to-read-a-verdict)=\n## Words\n\n```{glossary}\nprofile\n  A set of parameters.\n```\n")

    def pages(self, *names: str) -> None:
        """Let the book have these pages alone, after a short one to open."""
        listed = "".join(f"- file: {name}\n" for name in names)
        (self.root / "book" / "_toc.yml").write_text(f"format: jb-book\nroot: intro\nchapters:\n{listed}")
        (self.root / "book" / "intro.md").write_text("# A book\n\nOf one chapter.\n")

    def ncbook(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        """A command, to its end."""
        command, env = [sys.executable, "-m", "ncbook", *arguments], {**self.env(), **environment}
        return subprocess.run(command, env=env, cwd=self.root, capture_output=True, text=True, timeout=300, check=False)

    def start(self, *arguments: str) -> subprocess.Popen:
        """A command that goes on meanwhile, with all that it starts in a group of its own."""
        command = [sys.executable, "-m", "ncbook", *arguments]
        files = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self.env(), cwd=self.root, start_new_session=True, **files)

    def env(self) -> dict:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("NCBOOK_") and k not in ("PROFILE", "SEEDS", "FROM")}
        return {**kept, "NCBOOK_ROOT": str(self.root), "PYTHONPATH": str(BOOK), "DEVICE": "cpu", "JOBS": "1", "COLUMNS": "250"}

    def chapter(self, name: str, *code: str, title: str = "A toy", **parameters) -> None:
        """Add a chapter: a title, its parameters, and cells of code."""
        declared = "".join(f"{key} = {value!r}\n" for key, value in parameters.items())
        cells = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": f"# {title}\n"}]
        cells += [_code("parameters", declared, tags=["parameters"]), *(_code(f"cell-{i}", text) for i, text in enumerate(code))]
        kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        content = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
        (self.root / "book" / "chapters" / f"{name}.ipynb").write_text(json.dumps(content))

    def profile(self, name: str, **chapters: dict) -> None:
        """Set what a profile changes: these parameters of these chapters and nothing else."""
        folder = self.root / CHAPTERS
        for chapter in {*chapters, "another", *(path.parent.name for path in folder.glob("*/profiles.yml"))}:
            path = folder / chapter / "profiles.yml"
            path.parent.mkdir(parents=True, exist_ok=True)
            before = yaml.safe_load(path.read_text()) if path.is_file() else {}
            path.write_text(yaml.safe_dump({**before, name: chapters.get(chapter, {})}, sort_keys=False))

    def record(self, profile: str, chapter: str) -> None:
        """Take over a record of the repository."""
        place = Path("data") / "results" / profile / chapter
        shutil.copytree(BOOK / place, self.root / place)

    def tables(self) -> dict[str, bytes]:
        """The tables of finished runs, by their keys."""
        return {path.parent.name: path.read_bytes() for path in (self.root / "data" / "runs").glob("*/[!.]*/table.csv")}

    def drawn(self, profile: str, chapter: str) -> dict[str, bytes]:
        """What the executed chapter draws and judges."""
        folder = self.root / "book" / "_build" / profile / chapter
        return {path.name: path.read_bytes() for pattern in ("figures/*.csv", "verdicts.json") for path in folder.glob(pattern)}

    def contents(self, below: str = ".") -> dict[str, bytes]:
        """Every file and what is in it; but for the lock, which every command leaves."""
        files = sorted(p for p in (self.root / below).rglob("*") if p.is_file() and p.name != ".lock")
        return {str(p.relative_to(self.root)): p.read_bytes() for p in files}


class Toy(Checkout):
    """A book of one chapter, ``toy``, which trains in its notebook: an intro, the chapter, a ledger of nothing."""

    def __init__(self, root: Path, *code: str, **parameters):
        super().__init__(root, chapters=[])
        self.chapter("toy", *code, **parameters)
        self.pages("chapters/toy", "ledger")
        (root / "book" / "ledger.md").write_text("# Ledger\n\nNothing is claimed.\n")
        for chapter in (root / CHAPTERS).iterdir():
            shutil.rmtree(chapter)

    def env(self) -> dict:
        return {**super().env(), "JOBS": "2", "OMP_NUM_THREADS": "1"}


@contextmanager
def disk(folder: Path, size: str):
    """A file system of its own at `folder`: yields a function that changes its options (``size=50m``, ``ro``)."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield lambda option: subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _code(name: str, text: str, **metadata) -> dict:
    return {"cell_type": "code", "execution_count": None, "id": name, "metadata": metadata, "outputs": [], "source": text}
