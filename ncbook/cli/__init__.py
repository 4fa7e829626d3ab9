"""The command line (`app`), its commands for data sets (`data`), and how a command begins and ends (`entry`)."""

from ncbook.cli.entry import main

__all__ = ["main"]
