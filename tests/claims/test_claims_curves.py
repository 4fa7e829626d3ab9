"""Where the terminal phase begins and lasts, and what has changed at its end, on curves that can be read by eye."""

import numpy as np
import pandas as pd
import pytest

from ncbook.claims.curves import lasting_onset, onset, terminal_ends


def rows(errors: dict[int, float], begins: float = np.nan) -> pd.DataFrame:
    """Rows of a network in no order, with a column ``value`` of ten times the epoch."""
    epochs = list(errors)
    table = pd.DataFrame({"epoch": epochs, "train_error": list(errors.values()), "terminal_epoch": begins})
    return table.assign(value=10.0 * table["epoch"]).sample(frac=1, random_state=0)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (
            {1: 0.2, 2: 0, 4: 0.1, 8: 0, 12: 0, 16: 0, 32: 0, 64: 0},
            (8, 16),
        ),  # the first at twice the epoch, not the last, nor twice the next
        ({1: 0, 2: 0, 3: 0}, (1, 2)),  # from the first measurement on
        ({1: 0.2, 2: 0, 3: 0, 5: 0, 9: 0}, (2, 5)),  # nothing was measured at twice the epoch itself
        ({1: 0.2, 2: 0, 3: 0, 4: 0}, (2, np.nan)),  # twice the epoch is the last one
        ({1: 0.2, 2: 0, 3: 0}, (2, np.nan)),  # twice the epoch was not reached
        ({1: 0.2, 2: 0, 3: 0.1}, (np.nan, np.nan)),  # an image is wrong at the end
        ({1: 0.2, 2: 0.1, 3: 0}, (np.nan, np.nan)),  # it begins with the last measurement
    ],
)
def test_the_lasting_terminal_phase(errors, expected):
    np.testing.assert_equal(lasting_onset(rows(errors)), expected)


@pytest.mark.parametrize(("begins", "expected"), [(2, 2.0), (8, np.nan), (9, np.nan), (np.nan, np.nan)])
def test_a_terminal_phase_that_begins_with_the_last_measurement_is_none(begins, expected):
    table = rows({1: 0.2, 2: 0, 4: 0.1, 8: 0}, begins)
    np.testing.assert_equal(onset(table), expected)
    np.testing.assert_equal(terminal_ends(table, "value"), (20.0, 80.0) if expected == 2 else (np.nan, np.nan))
