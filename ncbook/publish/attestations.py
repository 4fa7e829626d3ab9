"""Attestations: what a workflow of the repository signed of records that it made, kept beside them as a profile's ``attestation.jsonl``.

Each line is a Sigstore bundle: a statement that names files by their digests, its signature, and what it takes to check that offline
(`SECURITY.md` has the command). Here it is only read whether a statement names a record; the signature is not checked.
"""

import base64
import hashlib
import json

from ncbook import paths


def attested(profile: str, chapter: str) -> bool:
    """Whether a statement beside a chapter's record names its ``provenance.json``, and with it every file of the record, as it is now."""
    try:
        return hashlib.sha256((paths.record(profile, chapter) / "provenance.json").read_bytes()).hexdigest() in _named(profile)
    except OSError:  # none, or no record
        return False


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
