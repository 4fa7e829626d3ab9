"""Claims from their entries, and each judged on a table of runs."""

import importlib
from dataclasses import MISSING, asdict, dataclass, field, fields, replace

import numpy as np
import pandas as pd

from ncbook.claims import rule
from ncbook.errors import InputError, unknown
from ncbook.renamed import moved_name

ALLOWED = {
    "kind": ("claim", "control", "check"),
    "evidence": ("published", "second-hand", "ours"),
    "scale": tuple(rule.SCALES),
    "test": ("greater", "less", "equivalent"),
    "combine": ("all", "any"),
}

NO_PROFILE = ("by hand", "custom", "verify")  # what a table is called whose parameters are those of no profile


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One entry of a claims.yml; `ncbook.claims.entries` explains every field. `module` is where its quantity is defined."""

    id: str
    chapter: str
    source: str
    statement: str
    evidence: str
    table: str
    quantity: str
    measures: str
    test: str
    threshold: float
    why: str
    figure: str
    kind: str = "claim"
    of: tuple[str, ...] = ()
    guard: str = ""
    effect: float | None = None
    published: str = ""
    reading: dict[str, object] = field(default_factory=dict)
    scale: str = "linear"
    margin: float = 0.0
    settings: tuple[str, ...] = ()
    combine: str = "all"
    unit: str = "seed"
    profiles: tuple[str, ...] = ()
    module: str = ""

    def __post_init__(self):
        for name, known in ALLOWED.items():
            if (value := getattr(self, name)) not in known:
                raise unknown(name, value, known)
        for name in ("threshold", "margin", *["effect"] * (self.effect is not None)):
            if isinstance(value := getattr(self, name), bool) or not isinstance(value, int | float):
                raise InputError(f"{name} must be a number, not {value!r}")
            if self.scale == "log10" and value <= 0 and name != "margin":
                raise InputError(f"the {name} must be positive on the log scale, not {value:g}")
        if bool(self.of) != (self.kind == "control"):
            raise InputError("a control names the claims that it is `of`, and nothing else does")
        if not isinstance(self.reading, dict) or set(self.reading) & set(self.settings):
            raise InputError("reading must give columns a value each, none of them among the settings")
        if self.test == "equivalent" and self.margin <= 0:
            raise InputError("the test 'equivalent' needs a margin above 0")

    def compute(self, rows: pd.DataFrame) -> float:
        """The claim's quantity for one unit's rows."""
        with np.errstate(divide="ignore", invalid="ignore"):  # a logarithm of 0 is infinite, and then not judged
            return float(_quantity(self)(rows))


def load(entries: list[dict], *, module: str) -> list[Claim]:
    """The claims of entries, in their order. What is wrong with an entry is an `InputError` that names the claim.

    The claims that a control is `of` stand in the same entries.

    `module` is the name of the module that holds a chapter's quantities, with ``{chapter}`` in place of the chapter.
    """
    claims = []
    for entry in entries:
        try:
            claims.append(replace(_claim(entry, {c.id for c in claims}), module=module.format(chapter=entry["chapter"])))
        except InputError as error:
            raise InputError(f"claims.yml: claim {entry.get('id')}: {error}") from error
    judged = {claim.id for claim in claims if claim.kind == "claim"}
    for claim in claims:
        if wrong := [name for name in claim.of if name not in judged]:
            raise InputError(f"claims.yml: claim {claim.id}: {unknown('claim', wrong[0], judged)}")
    return claims


def _claim(entry: dict, taken: set[str]) -> Claim:
    for name in entry:
        if name not in (known := {f.name for f in fields(Claim)} - {"module"}):
            raise unknown("field", name, sorted(known))
    if lacking := [f.name for f in fields(Claim) if f.default is f.default_factory is MISSING and f.name not in entry]:
        raise InputError(f"it has no {', '.join(lacking)}")
    if entry["id"] in taken:
        raise InputError("the id is used twice")
    given: dict = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    return Claim(**given)


def _quantity(claim: Claim):
    module = importlib.import_module(claim.module)
    functions = [n for n in vars(module) if not n.startswith("_") and callable(getattr(module, n))]
    if claim.quantity not in functions:
        raise unknown("quantity", claim.quantity, functions)
    return getattr(module, claim.quantity)


@dataclass(frozen=True)
class Verdict:
    """A claim, judged: the verdict over all settings, and what each setting gave (a `rule.Part` as a dict, with its setting)."""

    claim: Claim
    profile: str
    verdict: str
    parts: list[dict]
    reason: str = ""


def judge_claim(claim: Claim, table: pd.DataFrame, profile: str) -> Verdict:
    """Judge one claim on a table of runs. Where the quantity is undefined for a seed its setting is not judged, and the reason says so.

    Of several readings of the same runs the declared one is judged; the others are parts with their ``reading``, which decide nothing.
    """
    if claim.profiles and profile not in (*claim.profiles, *NO_PROFILE):
        return Verdict(claim, profile, rule.UNMEASURED, [], f"not tested in the profile {profile}")
    for column in (*claim.settings, *claim.reading, claim.unit):
        if column not in table:
            raise unknown(f"column of the table {claim.table}", column, table.columns)
    declared = (table[list(claim.reading)] == pd.Series(dict(claim.reading))).all(axis=1)
    judged, parts, undefined = _parts(claim, table[declared], list(claim.settings))
    if not parts:
        undefined = ["all runs"]
    for reading, rows in table[~declared].groupby(list(claim.reading), dropna=False) if claim.reading else ():
        named = {column: _plain(value) for column, value in zip(claim.reading, reading, strict=True)}
        parts += [{**part, "reading": named} for part in _parts(claim, rows, list(claim.settings))[1]]
    number = "positive number" if claim.scale == "log10" else "number"
    reason = f"the quantity is no finite {number}, or there is one {claim.unit} only, in: {'; '.join(undefined)}" if undefined else ""
    return Verdict(claim, profile, rule.combine(judged, claim.combine, undefined=len(undefined)), parts, reason)


def _parts(claim: Claim, table: pd.DataFrame, settings: list[str]) -> tuple[list[rule.Part], list[dict], list[str]]:
    """The settings of a claim: those that could be judged, all as dicts, and the names of those where the quantity is undefined."""
    judged, parts, undefined = [], [], []
    for setting, rows in table.groupby(settings, dropna=False) if settings else [((), table)][: len(table)]:
        named = {column: _plain(value) for column, value in zip(settings, setting, strict=True)}
        values = [claim.compute(of_seed) for _, of_seed in rows.groupby(claim.unit)]
        defined = [v for v in values if np.isfinite(v) and (v > 0 or claim.scale != "log10")]
        if len(defined) < max(2, len(values)):
            undefined.append(", ".join(map(str, named.values())) or "all runs")
            parts.append({"setting": named, "n": len(defined), "undefined": len(values) - len(defined)})
            continue
        part = rule.judge_part(values, test=claim.test, threshold=claim.threshold, margin=claim.margin, scale=claim.scale)
        judged.append(part)
        parts.append({"setting": named, "verdict": rule.combine([part], "all"), **asdict(part)})
    return judged, parts, undefined


def _plain(value):
    """A value of a table as JSON holds it."""
    return None if pd.isna(value) else value.item() if hasattr(value, "item") else value


def __getattr__(name: str):
    return moved_name(__name__, name)
