"""``ncbook data``: which data sets there are, how to get them, whether they are whole."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ncbook.errors import InputError

app = typer.Typer(help="Which data sets there are, how to get them, whether they are whole.", no_args_is_help=True)


@app.command("list")
def data_list() -> None:
    """The data sets, and which of them are here."""
    from ncbook.data.files import check, data_root
    from ncbook.data.presets import PRESETS

    table = Table("name", "what", "train / test", "classes", "here", box=None)
    for name, spec in _published(PRESETS):
        try:
            check(name)
            here = "yes"
        except InputError:
            here = "no"
        table.add_row(name, spec.title, f"{spec.train_size:,} / {spec.test_size:,}", str(spec.num_classes), here)
    table.add_row("folder:PATH", "your own images: PATH/train/CLASS/*.png, PATH/test/CLASS/*.png", "–", "–", "–")
    out = Console(markup=False)
    out.print(table)
    out.print(
        f"\ndata folder: {data_root()} (another one: NCBOOK_DATA); to download: ncbook data fetch NAME", highlight=False, soft_wrap=True
    )


@app.command("fetch")
def data_fetch(names: Annotated[list[str], typer.Argument(help="Data sets to download.")]) -> None:
    """Download data sets, check them, and put them in place whole."""
    from ncbook.data.download import fetch

    for name in names:
        print(f"{name}: {'fetched and checked' if fetch(name) else 'already here and whole'}")


@app.command("check")
def data_check(names: Annotated[list[str] | None, typer.Argument(help="Data sets; all that are here when none is named.")] = None) -> None:
    """Compare every file with the published one, byte for byte."""
    from ncbook.data.files import check, folder
    from ncbook.data.presets import PRESETS, spec

    wrong = 0
    for name in names or [name for name, _ in _published(PRESETS)]:
        try:
            print(f"{name}: whole, {len(check(name))} files")
            if (dataset := spec(name)).path and (said := folder(dataset).said()):
                print(f"{name}: {said}")
        except InputError as error:
            wrong += bool(names) or "is not in" not in str(error)  # a set that nobody fetched is no fault, unless it was named
            print(f"{name}: {error}")
    if wrong:
        raise typer.Exit(1)


def _published(presets) -> list:
    """The presets that stand for one set; ``folder`` stands for any."""
    return [(name, spec) for name, spec in presets.items() if name != "folder"]
