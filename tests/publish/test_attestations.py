"""Which records an attestation names: a statement of this very file, in a bundle that lies beside the records of its profile; and
that this is never said to be more."""

import base64
import hashlib
import json
import re

import pytest
from checkouts import BOOK

from ncbook.publish import trust
from ncbook.publish.attestations import NAMED, said
from ncbook.publish.execute import Chapter


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("NCBOOK_ROOT", str(tmp_path))
    for chapter in ("one", "two"):
        (folder := tmp_path / "data" / "results" / "quick" / chapter).mkdir(parents=True)
        (folder / "provenance.json").write_text(json.dumps({"chapter": chapter}))
    return tmp_path / "data" / "results" / "quick"


def bundle(*digests: str) -> bytes:
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "provenance.json", "digest": {"sha256": d}} for d in digests],
    }
    return json.dumps({"dsseEnvelope": {"payload": base64.b64encode(json.dumps(statement).encode()).decode(), "signatures": []}}).encode()


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_record_is_named_where_a_statement_names_it_as_it_is(results):
    assert said("quick", "one") == "none"
    (results / "attestation.jsonl").write_bytes(
        bundle("0" * 64) + b"\n" + bundle("1" * 64, digest(results / "one" / "provenance.json")) + b"\n"
    )
    assert [said("quick", name) for name in ("one", "two", "three")] == [NAMED, "none", "none"] and said("laptop", "one") == "none"
    (results / "one" / "provenance.json").write_text('{"chapter": "one" }')
    assert said("quick", "one") == "none"


def test_a_forged_attestation_earns_no_word_of_confirmation(results, tmp_path, monkeypatch):
    """Anybody can write a bundle that names a record, with a signature of letters: the page says that nobody has looked at it."""
    forged = json.loads(bundle(digest(results / "one" / "provenance.json")))
    forged["dsseEnvelope"]["signatures"] = [{"sig": "Zm9yZ2Vk"}]
    forged["verificationMaterial"] = {"certificate": {"rawBytes": "Zm9yZ2Vk"}, "tlogEntries": [{"logIndex": "1"}]}
    (results / "attestation.jsonl").write_text(json.dumps(forged))
    lines = {"trained on": "a CPU", "versions": "torch", "runs": "1", "core time": "1 s", "memory": "1 MB"}
    monkeypatch.setattr(trust, "_provenance", lambda chapter: lines)
    monkeypatch.setattr(trust.notebooks, "title", str)
    chapters = [Chapter("one", "quick", {}, recorded=True), Chapter("two", "quick", {}, recorded=True), Chapter("one", "quick", {})]
    page = trust.pages(chapters)["trust"]
    head, _, *rows = ([cell.strip() for cell in line.split("|")] for line in page.splitlines() if line.startswith("|"))
    assert [row[head.index("attestation")] for row in rows] == ["names this record; signature not checked here", "none", "none"]
    for word in ("yes", "attested", "signed", "confirmed", "valid"):
        assert not re.search(rf"\b{word}\b", page)
    about = (BOOK / "book" / "trust.md").read_text() + (BOOK / "SECURITY.md").read_text()
    assert "Nothing here checks the signature" in about and "ncbook checks no signature" in about


@pytest.mark.parametrize(
    "line",
    [
        b"\xff",
        b"[]",
        b"{}",
        b'{"dsseEnvelope": 3}',
        b'{"dsseEnvelope": {"payload": "e30="}}',
        b"[" * 100_000,
        b'{"dsseEnvelope": {"payload": "W10="}}',
    ],
)
def test_a_line_that_is_no_bundle_names_nothing_and_hides_no_other(results, line):
    (results / "attestation.jsonl").write_bytes(line)
    assert said("quick", "one") == "none"
    (results / "attestation.jsonl").write_bytes(line + b"\n" + bundle(digest(results / "one" / "provenance.json")))
    assert said("quick", "one") == NAMED
