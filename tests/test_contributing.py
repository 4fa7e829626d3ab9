"""What CONTRIBUTING.md sends a stranger to is there."""

import re

from checkouts import BOOK


def test_every_place_that_it_names_exists():
    text = (BOOK / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:ncbook|book|tests)/[\w./-]+|[\w-]+\.(?:toml|lock))`", text))
    assert len(named) >= 15
    assert [path for path in sorted(named) if not (BOOK / path).exists()] == []
    assert "def nc3_self_duality" in (BOOK / "ncbook/metrics/collapse.py").read_text()
    assert "def stamp" in (BOOK / "ncbook/publish/execute.py").read_text()
