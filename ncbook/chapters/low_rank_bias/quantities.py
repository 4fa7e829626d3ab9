"""The numbers behind the claims on low rank. Each takes the rows of one seed, and, for images, of one data set.

`share`s and means are over the starts of the seed. A start ends *below* collapse when its last loss is below `BELOW` of the least that
collapse in all layers reaches, and *at* it within `AT` of that.
"""

import numpy as np
import pandas as pd

from ncbook.theory.deep_unconstrained import pairs_beat_collapse

NAN = float("nan")
BELOW, AT = 0.99, 0.01
WIDTH = 30  # the published width
FEWER = 0.8  # share of the classes below which a rank is low
FITTED = 0.005  # a hundredth of the fit at zero output
RANK = "rank_above_0.03"


def share_below(rows: pd.DataFrame) -> float:
    """Share of the starts at the published width that end below collapse."""
    return _share(_below(_ends(_of_width(rows, WIDTH))))


def share_below_without_relu(rows: pd.DataFrame) -> float:
    """The same without ReLU; nan where no start ends at collapse."""
    ends = _ends(rows[~rows["relu"]])
    return _share(_below(ends)) if _at(ends).any() else NAN


def rank_share(rows: pd.DataFrame) -> float:
    """Rank of the last hidden layer's class means before the ReLU over the classes, mean over the starts at the published width that end
    below."""
    ends = _ends(_of_width(rows, WIDTH))
    return float((ends[RANK] / ends["classes"])[_below(ends)].mean())


def rank_share_without_decay(rows: pd.DataFrame) -> float:
    """The same over all starts with hardly any weight decay, if they fit."""
    ends = _ends(_little(rows[rows["relu"]]))
    return float((ends[RANK] / ends["classes"]).mean()) if _fits(ends) else NAN


def variance_at_end(rows: pd.DataFrame) -> float:
    """Largest V of the hidden layers before their ReLU, geometric mean over the starts that end below with a low rank."""
    main = _last(rows[rows["weight_decay"] == rows["weight_decay"].max()])
    ends = _ends(main)
    kept = ends.loc[_below(ends) & (ends[RANK] < FEWER * ends["classes"]), "start"]
    return _variance(main[main["start"].isin(kept)])


def variance_without_decay(rows: pd.DataFrame) -> float:
    """The same over all starts with hardly any weight decay, if they fit."""
    little = _last(_little(rows))
    return _variance(little) if _fits(_ends(little)) else NAN


def share_at_collapse_wide(rows: pd.DataFrame) -> float:
    """Share of the starts at the largest width and full scale that end at collapse; nan where none at the smallest ends below it."""
    narrow = _ends(_of_width(rows, rows["width"].min()))
    return _share(_at(_ends(_of_width(rows, rows["width"].max())))) if _below(narrow).any() else NAN


def share_at_collapse_narrow(rows: pd.DataFrame) -> float:
    """The same share at the smallest width."""
    return _share(_at(_ends(_of_width(rows, rows["width"].min()))))


def best_of_three(rows: pd.DataFrame) -> float:
    """Least loss over that of collapse of three classes and four layers."""
    return _best(_cell(rows[rows["relu"]], 3, 4))


def best_of_three_without_relu(rows: pd.DataFrame) -> float:
    """The same without ReLU; nan where the search does not come within 1% of collapse."""
    return _reached(_best(_cell(rows[~rows["relu"]], 3, 4)))


def best_beyond(rows: pd.DataFrame) -> float:
    """The larger of the least losses over that of collapse at the corners of the theorem, four classes and three layers, six and two."""
    return float(np.max([_best(_cell(rows, k, n)) for k, n in ((4, 3), (6, 2))]))


def best_before(rows: pd.DataFrame) -> float:
    """The smaller of the same at three classes and three layers and at four and two; nan where one does not come within 1% of collapse."""
    return float(np.min([_reached(_best(_cell(rows, k, n))) for k, n in ((3, 3), (4, 2))]))


def image_rank_share(rows: pd.DataFrame) -> float:
    """Rank of the last hidden layer's class means before the ReLU over the classes, at the larger weight decay; nan with errors."""
    return _image_rank_share(rows[rows["weight_decay"] == rows["weight_decay"].max()])


def image_rank_share_weak(rows: pd.DataFrame) -> float:
    """The same at the smaller weight decay."""
    return _image_rank_share(rows[rows["weight_decay"] == rows["weight_decay"].min()])


def least_by_cell(rows: pd.DataFrame, by: list[str]) -> pd.Series:
    """Least last loss over that of collapse, by the columns `by`."""
    last = _last(rows)
    return (last["loss_now"] / last["collapse_loss"]).groupby([last[name] for name in by]).min()


def beyond(classes: int, layers: int) -> bool:
    """Whether classes and layers are past the thresholds of the deep linear theorem; the same as where pairs beat collapse."""
    return pairs_beat_collapse(classes, layers)


def _of_width(rows: pd.DataFrame, width: int) -> pd.DataFrame:
    return rows[(rows["width"] == width) & (rows["scale"] == 1)]


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["step"] == rows["step"].max()]


def _ends(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a start: the last hidden layer before its ReLU, at the end."""
    rows = _last(rows)
    return rows[rows["last_hidden"] & (rows["side"] == "before")]


def _little(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["weight_decay"] == rows["weight_decay"].min()]


def _below(ends: pd.DataFrame) -> pd.Series:
    return ends["loss_now"] < BELOW * ends["collapse_loss"]


def _at(ends: pd.DataFrame) -> pd.Series:
    return (ends["loss_now"] / ends["collapse_loss"] - 1).abs() <= AT


def _fits(ends: pd.DataFrame) -> bool:
    return bool(len(ends) and (ends["fit"] < FITTED).all())


def _share(of: pd.Series) -> float:
    return float(of.mean()) if len(of) else NAN


def _variance(rows: pd.DataFrame) -> float:
    largest = rows[rows["side"] == "before"].groupby("start")["variance_ratio"].max()
    return float(np.exp(np.log(largest).mean())) if len(largest) else NAN


def _cell(rows: pd.DataFrame, classes: int, layers: int) -> pd.DataFrame:
    return rows[(rows["classes"] == classes) & (rows["layers"] == layers)]


def _best(rows: pd.DataFrame) -> float:
    last = _last(rows)
    return float((last["loss_now"] / last["collapse_loss"]).min()) if len(last) else NAN


def _reached(best: float) -> float:
    return best if best <= 1 + AT else NAN


def _image_rank_share(rows: pd.DataFrame) -> float:
    end = rows[(rows["epoch"] == rows["epoch"].max()) & rows["last_hidden"] & (rows["side"] == "before")]
    right = len(end) == 1 and end["train_error"].item() == 0
    return end[RANK].item() / end["classes"].item() if right else NAN
