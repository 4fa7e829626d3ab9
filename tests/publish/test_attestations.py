"""Which records an attestation names: a statement of this very file, in a bundle that lies beside the records of its profile."""

import base64
import hashlib
import json

import pytest

from ncbook.publish.attestations import attested


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


def test_a_record_is_attested_that_a_statement_names_as_it_is(results):
    assert not attested("quick", "one")
    (results / "attestation.jsonl").write_bytes(
        bundle("0" * 64) + b"\n" + bundle("1" * 64, digest(results / "one" / "provenance.json")) + b"\n"
    )
    assert attested("quick", "one") and not attested("quick", "two") and not attested("laptop", "one") and not attested("quick", "three")
    (results / "one" / "provenance.json").write_text('{"chapter": "one" }')
    assert not attested("quick", "one")


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
    assert not attested("quick", "one")
    (results / "attestation.jsonl").write_bytes(line + b"\n" + bundle(digest(results / "one" / "provenance.json")))
    assert attested("quick", "one")
