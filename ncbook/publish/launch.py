"""How a reader opens a chapter in a browser, with nothing installed and nothing trained: its figures are drawn from its record."""

from urllib.parse import urlsplit

from ncbook.publish import records, sources

COLAB = "https://colab.research.google.com"
CLONE = "collapse-book"  # not the package's name: Python would look for it there


def on_colab() -> bool:
    """Whether Colab can open the repository's notebooks: it knows those of GitHub alone."""
    return urlsplit(sources.repository()).hostname == "github.com"


def text(chapter: str) -> str:
    """What stands at the end of a chapter's page, in Markdown; nothing without a repository, or without a record of the notebook's own
    parameters, which are those of the profile ``quick``."""
    if not sources.repository() or "quick" not in records.on_record(chapter):
        return ""
    lines = [
        ":::{dropdown} Open this chapter in a browser",
        "Nothing is installed on your machine, and nothing is trained: the figures are drawn from the record of the profile `quick`,",
        "without a GPU and in less than 2 GB of memory. To train, unset `FROM`.",
        "",
        "**Binder** (the button with the rocket above) builds the environment of `make book` first, which takes some minutes.",
    ]
    if on_colab():
        address = f"{COLAB}/github{urlsplit(sources.repository()).path}/blob/main/book/chapters/{chapter}.ipynb"
        lines += [
            "",
            f"**Colab** opens [the notebook alone]({address}). Put these lines into a cell above the first; then run all.",
            "",
            f"```\n{setup()}\n```",
        ]
    return "\n".join([*lines, ":::"])


def setup() -> str:
    """What a notebook on Colab needs before its first cell: a checkout, in which records and package are, and the word to read records. The
    packages that drawing needs are there."""
    return "\n".join(
        [
            f"!git clone --quiet --depth 1 {sources.repository()} {CLONE}",
            f"%cd {CLONE}",
            "!pip install --quiet --no-deps .",
            "%env FROM=record",
        ]
    )
