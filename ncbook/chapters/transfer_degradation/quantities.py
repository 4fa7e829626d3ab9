"""The numbers behind the claims on transfer. Each takes the rows of one seed in one setting.

The *main arm* is coarse labels at the largest weight decay on record: the one with the deepest collapse, fixed before any run. Features are
as they are (blur 0). A *change* is the accuracy at the last epoch minus that where the terminal phase began. The probe is logistic
regression on raw features, unless the claim's settings name one.
"""

import numpy as np
import pandas as pd

from ncbook.claims.curves import terminal_ends

NAN = float("nan")


def change(rows: pd.DataFrame) -> float:
    """Change of the last layer's probe accuracy over the terminal phase, main arm."""
    return _change(_last_layer(_main(rows)))


def change_of_probe(rows: pd.DataFrame) -> float:
    """Change of the accuracy of the rows' one probe, whichever it is, on the last layer over the terminal phase, main arm."""
    return _change(_last_layer(_main(rows, probe=None)))


def source_change(rows: pd.DataFrame) -> float:
    """Change of the test accuracy on the labels that the network was trained on, main arm."""
    return -_change(_last_layer(_main(rows)), "source_error_test")


def slope_over_training(rows: pd.DataFrame) -> float:
    """Probe accuracy gained for each decade of V on train, over the measured epochs of the terminal phase, main arm."""
    curve = _last_layer(_main(rows))
    begins = curve["terminal_epoch"].max()
    return _slope(curve[curve["epoch"] >= begins], least=3)  # all False where it never began


def slope_over_weight_decay(rows: pd.DataFrame) -> float:
    """Probe accuracy gained for each decade of V on train, over the weight decays, at the last epoch."""
    ends = _last_layer(_read(rows, "coarse"))
    return _slope(ends[ends["epoch"] == ends["epoch"].max()], least=2)


def last_layer_beyond(rows: pd.DataFrame) -> float:
    """The last layer's change minus that of the earlier layer that loses most."""
    main = _main(rows)
    earlier = [_change(layer) for _, layer in main[~main["last_layer"]].groupby("layer")]
    return _change(_last_layer(main)) - np.min(earlier) if earlier else NAN  # nan when any is


def beyond_fine_labels(rows: pd.DataFrame) -> float:
    """The change with coarse labels minus the change with fine ones, all else equal."""
    fine = _read(rows, "fine")
    return _change(_last_layer(_main(rows))) - _change(_last_layer(fine)) if len(fine) else NAN


def above_ceiling(rows: pd.DataFrame) -> float:
    """Last accuracy minus what features that took one value a source class would allow: source classes / fine classes, main arm."""
    end = _last_layer(_main(rows)).sort_values("epoch").iloc[-1]
    return end["accuracy"] - end["source_classes"] / end["fine_classes"]


def _read(rows: pd.DataFrame, labels: str, probe: str | None = "logistic") -> pd.DataFrame:
    """Rows of one kind of pre-training labels and one probe (None: all), features as they are."""
    return rows[(rows["labels"] == labels) & (rows["blur"] == 0) & ((rows["probe"] == probe) | (probe is None))]


def _main(rows: pd.DataFrame, probe: str | None = "logistic") -> pd.DataFrame:
    coarse = _read(rows, "coarse", probe)
    return coarse[coarse["weight_decay"] == coarse["weight_decay"].max()]


def _last_layer(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["last_layer"]]


def _change(rows: pd.DataFrame, column: str = "accuracy") -> float:
    """Last value minus the value where the terminal phase began; nan when it never began or only ended there."""
    begin, end = terminal_ends(rows, column)
    return end - begin


def _slope(rows: pd.DataFrame, *, least: int) -> float:
    """Least-squares slope of accuracy on log10 of V on train; nan for fewer points than `least`."""
    x = np.log10(rows["variance_ratio_train"].to_numpy())
    if len(x) < least or np.ptp(x) == 0:
        return NAN
    x = x - x.mean()
    return float(x @ rows["accuracy"].to_numpy() / (x @ x))
