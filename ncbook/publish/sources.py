"""Links to what a figure was made by: in the repository at a commit where ``_config.yml`` says where that is, on a host whose addresses are
known; else copies in the site."""

import json
import shutil
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from ncbook import chapters, paths
from ncbook.publish import commits, notebooks
from ncbook.publish.execute import Chapter

KINDS = {"notebook": "Notebook", "experiment": "Experiment"}
HOSTS = {  # by a part of the host's name: what stands between the repository's address and a file at a commit
    "github": "blob",
    "gitlab": "-/blob",
    "bitbucket": "src",
    "codeberg": "src/commit",
    "forgejo": "src/commit",
    "gitea": "src/commit",
}


def link(chapter: Chapter, kind: str) -> str:
    """A link in Markdown to a chapter's source notebook or to its experiment's code; nothing where it has none."""
    path = _path(chapter.name, kind)
    if not path.is_file():
        return f"no {kind} module"
    if known := host():
        return f"[{KINDS[kind]}]({repository()}/{HOSTS[known]}/{_commit(chapter)}/{path.relative_to(paths.root())})"
    return f"{{download}}`{KINDS[kind]} <sources/{chapter.name}/{path.name}>`"


def copy(chapter: Chapter, folder: Path) -> None:
    """Lay copies of a chapter's sources in `folder`, where links find them that do not lead into a repository."""
    for path in (_path(chapter.name, kind) for kind in KINDS):
        if path.is_file() and not host():
            (folder / "sources" / chapter.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / "sources" / chapter.name)


def repository() -> str:
    """The address of the repository that the book is made from, as ``_config.yml`` has it (``repository: {url: …}``); empty without."""
    config = chapters.read_yaml(paths.root() / "_config.yml")
    url = (config.get("repository") or {}).get("url") if isinstance(config, dict) else None
    return str(url or "").rstrip("/")


def host() -> str:
    """Which of `HOSTS` the repository is on; empty for another one, or without a repository."""
    name = urlsplit(repository()).hostname or ""
    return next((known for known in HOSTS if known in name), "")


def _path(chapter: str, kind: str) -> Path:
    return notebooks.notebook(chapter) if kind == "notebook" else paths.chapters() / chapter / "experiment.py"


def _commit(chapter: Chapter) -> str:
    """The commit of the record that a page shows, where the repository holds it; else that of the checkout."""
    if chapter.recorded:
        provenance = json.loads((paths.record(chapter.profile, chapter.name) / "provenance.json").read_text(encoding="utf-8"))
        if commits.known(recorded := provenance.get("commit", "")):
            return recorded
    return _here()


@cache
def _here() -> str:
    return commits.here()["commit"]
