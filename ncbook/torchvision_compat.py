"""``from ncbook.torchvision_compat import torchvision``: torchvision, also where its compiled half does not fit the torch installed.

The package index serves one torchvision wheel, built for CUDA. Beside a CPU build of torch its compiled library cannot be loaded, and then
``import torchvision`` stops at "operator torchvision::nms does not exist": at import it attaches shape rules to two box operators that only
that library declares. Nothing in this project uses those operators. Declaring their schemas (names and types, no implementation) lets the
import finish; data sets, transforms, models and feature extraction then work, and calling ``torchvision.ops.nms`` still raises.

Where the compiled library loads, the first import succeeds and nothing is declared: a second declaration would be an error in itself.
"""

import torch

_declared = None  # the declarations last as long as this object does

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::nms does not exist" not in str(error):
        raise
    _declared = torch.library.Library("torchvision", "FRAGMENT")
    _declared.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

__all__ = ["torchvision"]
