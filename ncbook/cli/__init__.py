"""The command line: what make calls, and what a reviewer types."""

from ncbook.cli.app import main

__all__ = ["main"]
