"""Everything at once: a table of all metrics for train and test features, and for a network with its data."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn

from ncbook.errors import InputError, unknown
from ncbook.metrics.collapse import _cdnv, classifier_geometry, mean_geometry, nc1_from, nc3_self_duality, variance_ratio, vci_from
from ncbook.metrics.common import at_common_size
from ncbook.metrics.moments import ClassMoments, check_features, check_labels, compute_dtype
from ncbook.metrics.projection import MeanSpan, predictions, project
from ncbook.metrics.weak import (
    group_moments,
    v_confused,
    v_even_weak,
    variance_ratio_predicted,
    variance_ratio_train_means,
    weak_kmeans,
    weak_nearest_mean,
)

# Always all of them and in this order; what was not asked for, or does not exist, is NaN.
METRICS = (
    ["error", "variance_ratio", "nc1", "rank", "cdnv", "he_su_separation", "vci"]
    + ["nc2_equinorm", "nc2_equiangularity", "nc2_max_angle"]
    + ["nc2_equinorm_classifier", "nc2_equiangularity_classifier", "nc2_max_angle_classifier"]
    + ["nc3_self_duality", "nc4_ncc_mismatch", "ncc_error"]
    + ["variance_ratio_train_means", "variance_ratio_predicted", "weak_nearest_mean", "weak_kmeans", "v_even_weak", "v_confused"]
    + ["common_n", "variance_ratio_common", "nc1_common", "cdnv_common"]
)


def collapse_table(
    train: tuple,
    test: tuple | None = None,
    *,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    weighting: str = "class",
    common_n: int | None = None,
    vci: bool = False,
    kmeans: bool = True,
) -> pd.DataFrame:
    """All metrics of train and test features: one row a split, the columns ``split``, ``n`` and `METRICS`.

    ``train`` and ``test`` are ``(features, labels)`` or ``(features, labels, outputs)`` with features (N, d), labels (N,) and outputs the
    network's scores (N, C) or predicted labels (N,). Without outputs the predictions are those of ``weight`` (C, d) and ``bias`` (C,), or of
    ``weight`` alone where there is no bias; without either, what compares with the network is NaN.

    Each split's V, NC1, CDNV, NC2, NC3 and VCI use its own class means; ``nc4_ncc_mismatch``, ``ncc_error``, ``weak_nearest_mean`` and
    ``variance_ratio_train_means`` the training set's. ``rank`` is the rank of Sigma_B that NC1 used. ``common_n`` adds `at_common_size`,
    ``vci=True`` the one metric that needs a d x d matrix, ``kmeans=False`` leaves the slowest one out.

    Raises `InputError` where a number would have no meaning: NaN features, a class without or with one sample, coinciding class means, wrong
    shapes, labels out of range.

    >>> features, labels = torch.tensor([[0.0], [2.0], [10.0], [12.0]]), torch.tensor([0, 0, 1, 1])
    >>> table = collapse_table((features, labels), (features + 1, labels), weight=torch.tensor([[-1.0], [1.0]]), bias=torch.tensor([6.0, -6.0]))
    >>> table[["split", "n", "error", "variance_ratio", "nc4_ncc_mismatch"]].round(12).values.tolist()
    [['train', 4, 0.0, 0.04, 0.0], ['test', 4, 0.0, 0.04, 0.0]]
    """
    head = None
    if weight is not None:
        weight, bias = _check_head(weight, bias)
        head = partial(predictions, weight=weight, bias=bias)
    for name, split in {"train": train, "test": train if test is None else test}.items():
        if not isinstance(split, (tuple, list)) or len(split) not in (2, 3):
            raise InputError(f"{name} must be (features, labels) or (features, labels, outputs)")
    num_classes = len(weight) if weight is not None else _num_classes(train)
    features, labels, predicted = _check_split("train", train, num_classes, head)
    if num_classes < 2:
        raise InputError("collapse is a relation between classes; there is only one")
    moments = ClassMoments.from_features(features, labels, num_classes=num_classes)
    span = MeanSpan.from_moments(moments, weighting=weighting)
    classifier = classifier_geometry(weight) if weight is not None else {}
    row = partial(_row, train=moments, train_span=span, weight=weight, weighting=weighting, common_n=common_n, vci=vci, kmeans=kmeans)
    rows = [{"split": "train", **row(features, labels, predicted, moments, span), **classifier}]
    if test is not None:
        width = features.shape[1]
        features, labels, predicted = _check_split("test", test, num_classes, head)
        if features.shape[1] != width:
            raise InputError(f"train features have {width} dimensions but test features {features.shape[1]}")
        moments = ClassMoments.from_features(features, labels, num_classes=num_classes)
        span = MeanSpan.from_moments(moments, weighting=weighting)
        rows.append({"split": "test", **row(features, labels, predicted, moments, span), **classifier})
    # One transfer to the host at the end, not one a metric.
    rows = [{name: value.item() if isinstance(value, Tensor) else value for name, value in values.items()} for values in rows]
    return pd.DataFrame(rows).reindex(columns=["split", "n", *METRICS])


def _row(
    features: Tensor,
    labels: Tensor,
    predicted: Tensor | None,
    moments: ClassMoments,
    span: MeanSpan,
    *,
    train: ClassMoments,
    train_span: MeanSpan,
    weight: Tensor | None,
    weighting: str,
    common_n: int | None,
    vci: bool,
    kmeans: bool,
) -> dict:
    """The metrics of one split from its moments, one more pass over the features, and one for each grouping that is not the labels'."""
    classes = moments.count.numel()
    seen = project(features, labels, moments, span, train_span)
    nearest = seen.nearest.cpu()  # (N,)
    nearest_groups = group_moments(features, nearest, labels, moments)
    nc1 = nc1_from(moments, seen, weighting=weighting)
    row = {
        "n": len(labels),
        "variance_ratio": variance_ratio(moments, weighting=weighting),
        "nc1": nc1,
        "rank": span.rank,
        "cdnv": _cdnv(moments, span.coordinates),
        "he_su_separation": classes * nc1,
        **mean_geometry(moments, weighting=weighting),
        "ncc_error": _share(nearest != labels),
        "variance_ratio_train_means": variance_ratio_train_means(moments, train, weighting=weighting),
        "weak_nearest_mean": weak_nearest_mean(nearest_groups, train, weighting=weighting),
    }
    if kmeans:
        row["weak_kmeans"] = weak_kmeans(features, nearest, train)
    if vci:
        row["vci"] = vci_from(features, labels, moments, weighting=weighting)
    if weight is not None:
        row["nc3_self_duality"] = nc3_self_duality(weight, moments.centred(weighting))
    if predicted is not None:
        same = torch.equal(predicted, nearest)
        groups = nearest_groups if same else group_moments(features, predicted, labels, moments)
        row["error"] = _share(predicted != labels)
        row["nc4_ncc_mismatch"] = _share(predicted != nearest)
        row["variance_ratio_predicted"] = variance_ratio_predicted(groups, weighting=weighting)
        row["v_even_weak"] = v_even_weak(row["error"], classes)
        row["v_confused"] = v_confused(labels, predicted, train, weighting=weighting)
    if common_n is not None:
        row |= {"common_n": common_n, **at_common_size(features, labels, common_n, num_classes=classes)}
    return row


def measure(
    model: nn.Module,
    train: Iterable,
    test: Iterable | None = None,
    *,
    layer: str | list[str] | None = None,
    device: torch.device | str | None = None,
    pooled: bool = True,
    **options,
) -> pd.DataFrame:
    """The `collapse_table` of your own network: columns ``layer``, ``split``, ``n`` and `METRICS`, one row a layer and split.

    ``train`` and ``test`` are loaders, or any iterables, of ``(x, y)`` batches with labels 0..C-1 in ``y``; without shuffling if you compare
    runs bit for bit. The model is measured in eval mode and without gradients; its modes and device are put back afterwards.

    By default the features are the *input* of the last `nn.Linear` to run, whose weight and bias give the classifier's metrics; it must
    make the network's output. ``layer`` names one or several modules whose *output* is measured instead (as in ``model.named_modules()``; at
    its last call in a forward); NC2 of the classifier and NC3 are then NaN, while NC4 and the error still compare with the network's own
    output. 4-D activations are averaged over their positions (``pooled=True``) or flattened, others flattened. ``device`` is the model's
    unless given. ``options`` go to `collapse_table`. Raises `InputError` for unknown layers and what `collapse_table` refuses.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    >>> batches = [(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])), (torch.tensor([[4.0, 0.0], [4.0, 1.0]]), torch.tensor([1, 1]))]
    >>> measure(model, batches)[["layer", "split", "n", "variance_ratio"]].values.tolist()
    [['1', 'train', 4, 0.0625]]
    """
    layers = [layer] if isinstance(layer, str) else layer
    here = next((p.device for p in model.parameters()), torch.device("cpu"))
    device = torch.device(device) if device is not None else here
    with _measuring(model, device):
        splits = [_extract(model, batches, layers, device, pooled) for batches in (train, test) if batches is not None]
        tables = []
        for name in splits[0][0]:
            # Features of the last linear layer come with that layer; of a named one without.
            head = dict(model.named_modules())[name] if layers is None else None
            arguments = {} if head is None else {"weight": head.weight, "bias": head.bias}
            data = [(features[name], labels, outputs) for features, labels, outputs in splits]
            table = collapse_table(*data, **arguments, **options)
            table.insert(0, "layer", name)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _extract(model: nn.Module, batches: Iterable, layers: list[str] | None, device: torch.device, pooled: bool):
    """Features by layer name {(N, d)}, labels (N,) and predicted labels (N,) or scores of one pass over the batches."""
    features, labels, predicted = {}, [], []
    with _taps(model, layers) as taken:
        for batch in batches:
            if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                raise InputError("batches must be pairs (x, y)")
            taken.clear()
            outputs = model(batch[0].to(device, non_blocking=True))
            if not isinstance(outputs, Tensor) or outputs.ndim != 2:
                raise InputError("the network must return scores of shape (N, C); wrap it in a module that does")
            for name in layers or list(taken)[-1:]:
                if name not in taken:
                    raise InputError(f"layer {name!r} did not run in the forward pass")
                features.setdefault(name, []).append(_flat(name, taken[name], pooled))
            if layers is None and (not taken or dict(model.named_modules())[name].out_features != outputs.shape[1]):
                raise InputError("the network does not end in an nn.Linear that makes its scores; name a layer with layer=...")
            labels.append(torch.as_tensor(batch[1]).to(torch.int64))
            predicted.append(outputs.argmax(1).cpu())
    if not labels:
        raise InputError("the loader has no batches; a generator can be read only once")
    return {name: torch.cat(parts) for name, parts in features.items()}, torch.cat(labels), torch.cat(predicted)


@contextmanager
def _taps(model: nn.Module, layers: list[str] | None) -> Iterator[dict[str, Tensor]]:
    """What the layers put out at each forward pass, or without names the input of each linear layer, the last to run last."""
    modules = dict(model.named_modules())  # the network itself has the name ""
    taken: dict[str, Tensor] = {}

    def keep(name: str) -> Callable:
        def hook(module, inputs, output=None):
            taken.pop(name, None)
            taken[name] = output if layers else inputs[0]

        return hook

    if layers is None:
        hooks = [m.register_forward_pre_hook(keep(name)) for name, m in modules.items() if isinstance(m, nn.Linear)]
    else:
        for name in layers:
            if name not in modules:
                raise unknown("layer", name, modules)
        hooks = [modules[name].register_forward_hook(keep(name)) for name in layers]
    try:
        yield taken
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _measuring(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Eval mode without gradients on `device`; each module's own mode, and the model's device, are put back."""
    modes = {module: module.training for module in model.modules()}
    here = next((p.device for p in model.parameters()), device)
    try:
        model.to(device).eval()
        with torch.no_grad():
            yield
    finally:
        model.to(here)
        for module, mode in modes.items():
            module.training = mode


def _flat(name: str, activation, pooled: bool) -> Tensor:
    if not isinstance(activation, Tensor) or activation.ndim < 2:
        raise InputError(f"layer {name!r} does not put out one tensor with a row a sample")
    return activation.to(compute_dtype(activation)).mean((2, 3)) if pooled and activation.ndim == 4 else activation.flatten(1).clone()


def _num_classes(split: tuple) -> int:
    outputs = torch.as_tensor(split[2]) if len(split) > 2 else None
    if outputs is not None and outputs.ndim == 2:
        return outputs.shape[1]
    return check_features(*split[:2])[2]


def _check_split(name: str, split: tuple, num_classes: int, head: Callable | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Features, labels and predicted labels (both on the CPU) of one split; errors say which split."""
    try:
        features, labels, _ = check_features(*split[:2], num_classes=num_classes)
        if len(split) == 3:
            outputs = torch.as_tensor(split[2])
            outputs = outputs.argmax(1) if outputs.ndim == 2 else outputs
            return features, labels, check_labels(outputs, samples=len(labels), num_classes=num_classes, what="outputs")[0]
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return features, labels, head(features).cpu() if head else None


def _check_head(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    weight = torch.as_tensor(weight)
    if weight.ndim != 2:
        raise InputError(f"the classifier weight must have the shape (C, d), not {tuple(weight.shape)}")
    if bias is not None and torch.as_tensor(bias).shape != weight.shape[:1]:
        raise InputError(f"the bias must have the shape ({len(weight)},), not {tuple(torch.as_tensor(bias).shape)}")
    return weight, None if bias is None else torch.as_tensor(bias)


def _share(flags: Tensor) -> float:
    return flags.double().mean().item()  # labels live on the CPU: no device is waited for
