"""Tests of properties draw the same examples each time, and none fails for its time: a busy machine is no fault of the code. What a test
counted stands at the end of the report, whichever process ran it."""

from collections import Counter

import pytest
from hypothesis import settings

settings.register_profile("ncbook", deadline=None, derandomize=True, database=None)
settings.load_profile("ncbook")


# they take minutes: begun last, one of them would run alone at the end
LONG = ("test_kills.py", "test_signals.py", "test_attacks.py", "test_records.py", "test_end_to_end.py", "test_browser.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture
def told(record_property):
    """A function that leaves a sentence for the end of the report."""
    return lambda sentence: record_property("told", sentence)


@pytest.fixture
def counted(record_property):
    """A function that counts something; the sums of all tests stand at the end of the report."""
    return lambda what, number=1: record_property("counted", (what, number))


def pytest_terminal_summary(terminalreporter):
    sums = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()) if getattr(report, "when", "") == "call" else ():
                if name == "told":
                    terminalreporter.write_line(value)
                elif name == "counted":
                    sums[value[0]] += value[1]
    for what, number in sums.items():
        terminalreporter.write_line(f"{number} {what}")
