"""The entries of a file of claims as they stand there. Imports nothing heavy: the ledger, the stamps and the judge read them here.

Each claim is written in ``ncbook/chapters/<chapter>/claims.yml`` before it is tested; the verdict follows by rule (`ncbook.claims.rule`),
never by hand. Its fields:

- ``id``: short name, used in links
- ``chapter``: the notebook that tests it
- ``source``: key in references.bib
- ``kind``: ``claim`` (the default); ``control``, a setting in which the answer to the claims that it is ``of`` must be the other one,
  judged beside them; or ``check``, a test of our own code, as nothing that a network can do would make it fail. Claims alone are counted
- ``statement``: the claim, in one sentence
- ``guard``: in words, what a run must have reached, as otherwise the quantity is undefined (nan)
- ``effect``: a value of the quantity that would make the claim clearly true; the ledger gives the power to see it
- ``published``: the number that the source gives for it and under which conditions, where one is known
- ``evidence``: how we know that the source says so: published (its abstract or text), second-hand (others say so), ours
- ``table``: the chapter's table that it is computed from
- ``quantity``: function in the chapter's ``quantities.py``: one unit's rows -> one number
- ``measures``: that number in words
- ``settings``: columns whose values are settings of their own, each judged; ``combine``: all must hold, or any one (Holm's correction)
- ``reading``: columns that say how the same run was read, each with the value that is judged; the others are shown, and decide nothing
- ``scale``: linear or log10: where the mean is taken and the interval computed
- ``test``: greater, less or equivalent (within ``margin``) than the threshold
- ``threshold``: fixed beforehand; ``why`` says where it comes from
- ``unit``: what varies between independent repetitions
- ``profiles``: those that test it, where not all do
- ``figure``: the figure to look at
"""

from math import isfinite
from pathlib import Path

import yaml

from ncbook.errors import InputError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C library's is some ten times as fast


def read(path: Path) -> list[dict]:
    """The claims of one file, in its order. `InputError` where it is no list of claims."""
    try:
        entries = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path} must be a list of claims, each a list of `field: value`.")
    for entry in entries:
        for name in ("threshold", "margin", "effect"):
            if isinstance(value := entry.get(name), float) and not isfinite(value):  # YAML's .nan and .inf, and 1e400
                raise InputError(f"{path}: claim {entry.get('id')}: {name} must be a finite number, not {value}.")
    return entries
