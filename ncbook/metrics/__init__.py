"""Neural-collapse metrics: `measure` a network, `collapse_table` for features, `ClassMeans` and `Collapse` for a training loop.

The menu. Inside the package, import from the defining module.
"""

from typing import TYPE_CHECKING

from ncbook.metrics.collapse import (
    cdnv,
    he_su_separation,
    nc1,
    nc2_equiangularity,
    nc2_equinorm,
    nc2_max_angle,
    nc3_self_duality,
    variance_ratio,
    vci,
)
from ncbook.metrics.common import at_common_size
from ncbook.metrics.conventions import CONVENTIONS, convert
from ncbook.metrics.deferred import Deferred
from ncbook.metrics.effective import effective_rank
from ncbook.metrics.head import Head
from ncbook.metrics.layers import layer_table
from ncbook.metrics.linear_head import alignment, condition, imbalance, linear_layers_table, negativity
from ncbook.metrics.moments import ClassMoments
from ncbook.metrics.network import measure
from ncbook.metrics.projection import MeanSpan, nearest_centre, predictions
from ncbook.metrics.saved import load_checkpoint, load_features
from ncbook.metrics.table import CLASS_METRICS, METRICS, class_table, collapse_table
from ncbook.metrics.weak import (
    v_confused,
    v_even_weak,
    variance_ratio_predicted,
    variance_ratio_train_means,
    weak_kmeans,
    weak_nearest_mean,
)

if TYPE_CHECKING:
    from ncbook.metrics.streaming import ClassMeans, Collapse
else:
    ClassMeans = Deferred("ncbook.metrics.streaming", "ClassMeans")
    Collapse = Deferred("ncbook.metrics.streaming", "Collapse")

__all__ = [
    "CLASS_METRICS",
    "CONVENTIONS",
    "METRICS",
    "ClassMeans",
    "ClassMoments",
    "Collapse",
    "Head",
    "MeanSpan",
    "alignment",
    "at_common_size",
    "cdnv",
    "class_table",
    "collapse_table",
    "condition",
    "convert",
    "effective_rank",
    "he_su_separation",
    "imbalance",
    "layer_table",
    "linear_layers_table",
    "load_checkpoint",
    "load_features",
    "measure",
    "nc1",
    "nc2_equiangularity",
    "nc2_equinorm",
    "nc2_max_angle",
    "nc3_self_duality",
    "nearest_centre",
    "negativity",
    "predictions",
    "v_confused",
    "v_even_weak",
    "variance_ratio",
    "variance_ratio_predicted",
    "variance_ratio_train_means",
    "vci",
    "weak_kmeans",
    "weak_nearest_mean",
]
