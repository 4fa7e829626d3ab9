"""Tests of properties draw the same examples each time, and none fails for its time: a busy machine is no fault of the code. What a test
counted stands at the end of the report, whichever process ran it."""

import pytest
from hypothesis import settings

settings.register_profile("ncbook", deadline=None, derandomize=True, database=None)
settings.load_profile("ncbook")


@pytest.fixture
def told(record_property):
    """A function that leaves a sentence for the end of the report."""
    return lambda sentence: record_property("told", sentence)


def pytest_terminal_summary(terminalreporter):
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, sentence in getattr(report, "user_properties", ()):
                if name == "told" and report.when == "call":
                    terminalreporter.write_line(sentence)
