"""What other readings of the same runs make of a claim is what its quantity gives there; the declared one is marked."""

import pandas as pd
import pytest

from ncbook import chapters
from ncbook.claims.registry import judge_claim
from ncbook.publish.readings import readings

CHAPTER = "cascading_collapse"
READING = ["activation", "pooling"]


@pytest.fixture(scope="module")
def verdicts():
    """Of made-up runs, in which V falls layer by layer before the activation, and not after it."""
    rows = [
        (
            "digits",
            "mlp_deep",
            activation,
            "flattened",
            seed,
            split,
            epoch,
            depth,
            10.0 ** (-depth * (activation == "pre") * epoch + 0.01 * seed),
        )
        for activation in ("post", "pre")
        for seed in range(5)
        for split in ("train", "test")
        for epoch in (0, 1)
        for depth in range(1, 7)
    ]
    columns = ["dataset", "model", *READING, "seed", "split", "epoch", "depth", "variance_ratio"]
    table = pd.DataFrame(rows, columns=columns)
    claims = {claim.id: claim for claim in chapters.claims(CHAPTER)}
    return [
        judge_claim(claims[name], table, "quick") for name in ("cascade-deepens", "cascade-untrained-order", "cascade-made-by-training")
    ]


def test_each_reading_has_its_own_verdict_and_says_where_the_declared_one_differs(verdicts):
    found = readings(verdicts, READING).set_index("activation")
    assert list(found.index) == ["post", "pre"]  # one claim: controls and checks of the code are none
    assert found.loc["post", "verdict"].endswith("contradicted") and found.loc["post", "instead_of"] == ""
    assert found.loc["pre", "verdict"] == "✔\u00a0supported; as declared, contradicted"
    assert found.loc["pre", "instead_of"] == "after the activation, flattened"
    assert found.loc["pre", "estimate"].startswith("−1 [−1, −1]") and found.loc["post", "estimate"].startswith("0 [0, 0]")
    assert set(found["dataset"]) == {"digits"} and set(found["pooling"]) == {"flattened"}


def test_claims_that_are_read_by_other_columns_are_left_out(verdicts):
    assert readings(verdicts, ["statistics"]).empty
