"""Neural-collapse metrics: `measure` a network, `collapse_table` for features, `ClassMeans` and `Collapse` for a training loop.

The menu. Inside the package, import from the defining module.
"""

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
from ncbook.metrics.head import Head
from ncbook.metrics.layers import layer_table
from ncbook.metrics.linear_head import alignment, condition, imbalance, linear_layers_table, negativity
from ncbook.metrics.table import CLASS_METRICS, METRICS, class_table, collapse_table
from ncbook.metrics.moments import ClassMoments
from ncbook.metrics.network import measure
from ncbook.metrics.projection import MeanSpan, nearest_centre, predictions
from ncbook.metrics.weak import (
    v_confused,
    v_even_weak,
    variance_ratio_predicted,
    variance_ratio_train_means,
    weak_kmeans,
    weak_nearest_mean,
)

__all__ = [
    "CLASS_METRICS",
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
    "he_su_separation",
    "imbalance",
    "layer_table",
    "linear_layers_table",
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


def __getattr__(name: str):
    if name in ("ClassMeans", "Collapse"):  # lazy: torchmetrics takes seconds to import
        from ncbook.metrics import streaming

        return getattr(streaming, name)
    raise AttributeError(f"module 'ncbook.metrics' has no attribute {name!r}")
