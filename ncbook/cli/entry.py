"""The entry point, and how a command ends: by a sentence where a user can mend it, and by a signal only after it has cleaned up."""

import errno
import io
import signal
import sys

from rich.console import Console

from ncbook.cli.app import app
from ncbook.errors import InputError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, a share of it, or what one file may take


def main() -> None:
    """Run the command line. An `InputError` and a full disk end with a sentence and exit code 2, anything else with its traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without a dash or a tick gets a question mark, not a traceback
    for name in ("SIGTERM", "SIGHUP"):
        if signal.getsignal(number := getattr(signal, name)) is signal.SIG_DFL:  # one that is ignored stays so, as under nohup
            signal.signal(number, _leave)
    try:
        app()
    except InputError as error:
        _end(str(error))
    except OSError as error:
        if error.errno not in FULL:
            raise
        where = f" at {error.filename}" if error.filename else ""
        _end(f"{error.strerror}{where}; what was finished is kept, and the same command goes on from there.")


def _leave(number: int, _) -> None:
    """As at Ctrl-C: whoever has started processes or made folders hears of it, ends and removes them. A second signal ends at once."""
    signal.signal(number, signal.SIG_DFL)
    raise SystemExit(128 + number)


def _end(sentence: str) -> None:
    Console(stderr=True, highlight=False).print(f"ncbook: {sentence}", markup=False, soft_wrap=True)
    raise SystemExit(2) from None
