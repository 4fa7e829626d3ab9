"""Attestations: what a workflow of the repository signed of records that it made, kept beside them as a profile's ``attestation.jsonl``.

Each line is a Sigstore bundle: a statement that names files by their digests, its signature, and what it takes to check that offline
(`SECURITY.md` has the command). Here it is only read whether a statement names a record. The signature is not checked: anybody can write
such a statement.
"""

import base64
import hashlib
import json

from ncbook import paths

NAMED = "names this record; signature not checked here"


def said(profile: str, chapter: str) -> str:
    """All that is known of a chapter's attestation: that there is none, or that a statement names the record's ``provenance.json`` as it is
    now, and with it every file of the record."""
    try:
        record = hashlib.sha256((paths.record(profile, chapter) / "provenance.json").read_bytes()).hexdigest()
        return NAMED if record in _named(profile) else "none"
    except OSError:  # no record, or nothing beside it
        return "none"


def _named(profile: str) -> set[str]:
    """The digests that the statements of a profile name; none of a line that is no bundle."""
    named = set()
    for line in (paths.results() / profile / "attestation.jsonl").read_bytes().splitlines():
        try:
            statement = json.loads(base64.b64decode(json.loads(line)["dsseEnvelope"]["payload"]))
            named |= {subject["digest"]["sha256"] for subject in statement["subject"]}
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            continue
    return named
