import pytest
from checkouts import Checkout


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
