"""``python -m ncbook`` and the command ``ncbook``."""

import sys


def main() -> None:
    """Run the command line, or where its packages are missing say in one sentence how to get them."""
    try:
        from ncbook.cli import main as run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "ncbook":
            raise
        print(
            f"The commands of ncbook make the book and need more packages (here {error.name}): pip install 'ncbook[book]'. "
            "The metrics work without: from ncbook import measure.",
            file=sys.stderr,
        )
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
