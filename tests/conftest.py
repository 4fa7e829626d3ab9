"""Tests of properties draw the same examples each time, and none fails for its time: a busy machine is no fault of the code."""

from hypothesis import settings

settings.register_profile("ncbook", deadline=None, derandomize=True, database=None)
settings.load_profile("ncbook")
