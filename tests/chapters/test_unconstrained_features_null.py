"""False alarms and power of the chapter's claims on networks: surrogate tables with the noise of trial seeds, through quantity and rule."""

import numpy as np
import pandas as pd
import pytest
import surrogates

from ncbook.chapters import claims

SEEDS, VALUES = 5, 400
CLAIMS = {claim.id: claim for claim in claims("unconstrained_features")}


def rates(name: str, surrogate) -> tuple[float, float]:
    return surrogates.rates(CLAIMS[name], surrogate, seeds=SEEDS, values=VALUES)


def frame(ratio):
    """Distances from both frames with the noise of trial seeds, about a tenth each."""

    def surrogate(random):
        near, far = 0.03 * ratio / 0.2, 0.15
        noise = np.exp(0.12 * random.normal(size=2))
        row = {"loss": "squared", "bias": True, "epoch": 9, "train_error": 0.0}
        return pd.DataFrame([row | {"to_simplex": near * noise[0], "to_orthogonal": far * noise[1]}])

    return surrogate


def orthogonal(ratio):
    """Distances of networks without a bias, with the noise of trial seeds."""

    def surrogate(random):
        row = {"loss": "squared", "bias": False, "activation": "relu", "epoch": 9, "train_error": 0.0, "to_simplex": 0.1}
        return pd.DataFrame([row | {"to_orthogonal": 0.1 * ratio * np.exp(0.15 * random.normal())}])

    return surrogate


def off_path(fall):
    """Shares off the path at the start of the terminal phase and at the end, with the noise of trial seeds."""

    def surrogate(random):
        start, end = 0.7 * np.exp(0.05 * random.normal()), 0.7 * fall * np.exp(0.15 * random.normal())
        row = {"loss": "squared", "activation": "relu", "terminal_epoch": 4, "variance_ratio": 0.01, "squared_loss": 1.0}
        return pd.DataFrame([row | {"epoch": 4, "off_path": start}, row | {"epoch": 9, "off_path": end}])

    return surrogate


def relabelled(labels, ratio):
    def surrogate(random):
        v = {"true": 0.004 * np.exp(0.3 * random.normal()), labels: 0.004 * ratio * np.exp(0.3 * random.normal())}
        return pd.DataFrame([{"labels": k, "epoch": 9, "train_error": 0.0, "variance_ratio": x} for k, x in v.items()])

    return surrogate


def merging(by, by_decay=0.0):
    """Cosines of five classes drawn anew: the noise grows with their distance from the simplex."""

    def surrogate(random):
        rows = []
        for decay, more in ((0.002, by - by_decay), (0.01, by)):
            for ratio, unequal, shift in ((1, False, 0.0), (25, False, 0.0), (25, True, more)):
                cosine = -1 / 9 + shift + (0.01 + 0.25 * abs(shift)) * random.normal()
                row = {"weight_decay": decay, "ratio": ratio, "unequal": unequal, "epoch": 9, "majority_error": 0.0}
                rows.append(row | {"minority_cosine": cosine})
        return pd.DataFrame(rows)

    return surrogate


FALSE = {  # the boundary of each claim: the nominal rate on either side
    "network-frame-follows-bias": frame(0.5),
    "network-penalised-frame-orthogonal": orthogonal(0.5),
    "network-unpenalised-frame-is-not": orthogonal(0.5),
    "network-nears-central-path": off_path(0.5),
    "network-fixed-classifier-stays-off": off_path(0.5),
    "network-shuffled-collapses-less": relabelled("shuffled", 2),
    "network-renamed-collapses-alike": relabelled("renamed", 2),
    "network-minority-merges": merging(0.1),
    "network-merging-grows-with-decay": merging(0.1, 0.1),
}
TRUE = {
    "network-frame-follows-bias": frame(0.2),
    "network-penalised-frame-orthogonal": orthogonal(0.3),
    "network-unpenalised-frame-is-not": orthogonal(1.5),
    "network-nears-central-path": off_path(0.1),
    "network-fixed-classifier-stays-off": off_path(0.7),
    "network-shuffled-collapses-less": relabelled("shuffled", 5),
    "network-minority-merges": merging(0.3),
    "network-merging-grows-with-decay": merging(0.35, 0.3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FALSE)
def test_false_alarms_are_rare_on_either_side(name):
    supported, contradicted = rates(name, FALSE[name])
    assert supported <= 0.05 and contradicted <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUE)
def test_true_claims_are_seen(name):
    supported, contradicted = rates(name, TRUE[name])
    assert supported >= 0.8 and contradicted <= 0.01
