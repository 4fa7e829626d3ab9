"""The command line (`app`), and its commands for data sets (`data`)."""

from ncbook.cli.app import main

__all__ = ["main"]
