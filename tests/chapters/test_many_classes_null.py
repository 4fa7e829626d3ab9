"""False alarms and power of the chapter's claims: surrogate tables, with the noise of trial seeds, through quantity and rule."""

import numpy as np
import pandas as pd
import pytest
import surrogates

from ncbook.chapters import claims
from ncbook.publish.parameters import parameters

SEEDS, VALUES = parameters("many_classes")["seeds"], 300
CLAIMS = {claim.id: claim for claim in claims("many_classes")}


def rates(name: str, surrogate) -> tuple[float, float]:
    return surrogates.rates(CLAIMS[name], surrogate, seeds=SEEDS, values=VALUES)


def networks(**given) -> pd.DataFrame:
    """The last epoch of the networks at the judged scale and at the smallest, and of the two other classifiers."""
    values = {"variance_ratio": 0.01, "one_vs_rest": 0.6, "one_vs_rest_of_code": 0.725, "off_weights": 5e-4, "accuracy": 0.85}
    fixed = {"dimension": 10, "epoch": 60, "train_error": 0.0}
    rows = [
        {**fixed, **values, "scale": 1.0, "classifier": "learned", "accuracy": given.get("hot", 0.8)},
        {**fixed, **values, "scale": 7.0, "classifier": "learned"} | {k: v for k, v in given.items() if k in values},
        {**fixed, **values, "scale": 7.0, "classifier": "class means", "accuracy": given.get("means", 0.85)},
    ]
    return pd.DataFrame(rows)


def near(column, value, spread):
    """One number of the judged network, apart by a share from seed to seed, as on trial seeds."""
    return lambda random: networks(**{column: value * np.exp(spread * random.normal())})


def gain(points, over):
    """Accuracies of a seed go together: two networks of one seed are apart by about a point beside what is between them."""
    apart = lambda random: 0.012 * random.normal()
    if over == "hot":
        return lambda random: networks(accuracy=0.85, hot=0.85 - points + apart(random))
    return lambda random: networks(accuracy=0.85, means=0.85 + points + apart(random))


def code_of(share):
    """Codes of known sizes: the worst of them judged, seeds apart by a thousandth."""

    def surrogate(random):
        known = pd.DataFrame({"dimension": [3, 3], "classes": [8, 10], "scale": 1000.0, "best_known": [0.26, 0.4]})
        return known.assign(one_vs_rest=(1 - known.best_known) * (share + 0.001 * random.normal()))

    return surrogate


def hot(share):
    """Searches to the end, at temperature 1 and at the smallest, apart by 2%."""

    def surrogate(random):
        row = {"dimension": 10, "classes": 62, "digits": 15}
        first = 0.72 * share * np.exp(0.02 * random.normal())
        return pd.DataFrame([{**row, "scale": 1.0, "one_vs_rest": first}, {**row, "scale": 1000.0, "one_vs_rest": 0.72}])

    return surrogate


FALSE = [  # the boundary of each claim
    ("classes-free-code", code_of(0.99)),
    ("classes-free-code", code_of(1.01)),
    ("classes-free-hot-is-nearly-one", hot(0.65)),
    ("classes-softmax-code", near("one_vs_rest", 0.65 * 0.725, 0.05)),
    ("classes-collapse", near("variance_ratio", 0.03, 0.1)),
    ("classes-means-are-weights", near("off_weights", 0.003, 0.15)),
    ("classes-temperature-helps", gain(0.02, "hot")),
    ("classes-class-means-serve", gain(-0.01, "means")),
]
TRUE = [
    ("classes-free-code", code_of(1.0)),
    ("classes-free-hot-is-nearly-one", hot(0.85)),
    ("classes-softmax-code", near("one_vs_rest", 0.75 * 0.725, 0.05)),
    ("classes-collapse", near("variance_ratio", 0.02, 0.1)),
    ("classes-means-are-weights", near("off_weights", 0.0006, 0.15)),
    ("classes-temperature-helps", gain(0.05, "hot")),
    ("classes-class-means-serve", gain(0.015, "means")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "surrogate"), FALSE, ids=[f"{name}{i}" for i, (name, _) in enumerate(FALSE)])
def test_false_alarms_are_rare(name, surrogate):
    supported, contradicted = rates(name, surrogate)
    assert supported <= 0.05 and contradicted <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("name", "surrogate"), TRUE, ids=[name for name, _ in TRUE])
def test_true_claims_are_seen(name, surrogate):
    supported, contradicted = rates(name, surrogate)
    assert supported >= 0.8 and contradicted <= 0.01


def test_every_claim_has_a_null():
    assert {name for name, claim in CLAIMS.items() if claim.kind == "claim"} == {name for name, _ in FALSE} == {name for name, _ in TRUE}
