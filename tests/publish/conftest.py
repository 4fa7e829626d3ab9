import os

import pytest
from checkouts import Checkout
from chromium import CHROMIUM

from ncbook import paths


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture(scope="module")
def lasting_checkout(tmp_path_factory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture
def here(checkout, monkeypatch) -> Checkout:
    """The same, for what is called in this process."""
    for name, value in checkout.env().items():
        monkeypatch.setenv(name, value)
    for name in ("PROFILE", "SEEDS", "NCBOOK_DATA", "NCBOOK_SESSION"):
        monkeypatch.delenv(name, raising=False)
    return checkout


@pytest.fixture(scope="module")
def site():
    site = paths.build() / "html"
    for missing, what in ((not CHROMIUM, "no chromium here"), (not (site / "index.html").is_file(), "the book is not built: make book")):
        if missing and os.environ.get("NCBOOK_BROWSER") == "required":
            pytest.fail(what)
        elif missing:
            pytest.skip(what)
    return site
