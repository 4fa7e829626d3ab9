import pytest


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty checkout: runs are kept below it."""
    monkeypatch.setenv("NCBOOK_ROOT", str(tmp_path))
    monkeypatch.setenv("DEVICE", "cpu")
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("TOY_CURED", str(tmp_path / "cured"))
    monkeypatch.delenv("JOBS", raising=False)
    return tmp_path
