"""Conditioning, balance, sign and alignment of a network's linear layers (the measures of Jacot et al. 2024)."""

import torch
from torch import Tensor, nn

from ncbook.errors import InputError
from ncbook.metrics.devices import decompose
from ncbook.metrics.inputs import as_tensor, check_features
from ncbook.metrics.moments import ClassMoments


def spectrum(matrix: Tensor, rank: int) -> Tensor:
    """The `rank` largest singular values of a matrix, float64, largest first.

    Of a hidden layer only so many matter as there are classes: a 64 × 64 matrix of rank 10 has a condition number of 1e17.

    >>> spectrum(torch.diag(torch.tensor([1.0, 4.0, 0.0])), 2).tolist()
    [4.0, 1.0]
    """
    matrix = as_tensor(matrix, "matrix")
    if matrix.ndim != 2 or min(matrix.shape) < rank or rank < 1:
        raise InputError(f"a matrix of shape {tuple(matrix.shape)} has no {rank} largest singular values.")
    if not bool(torch.isfinite(matrix).all()):
        raise InputError("a matrix with NaN or infinite values has no singular values.")
    return decompose(torch.linalg.svdvals, matrix.double())[:rank]


def condition(matrix: Tensor, rank: int) -> Tensor:
    """Condition number: the largest over the `rank`-th largest singular value; infinite where that is 0.

    Of the class means (C, d), *not* centred, with rank C, it is the paper's NC2: 1 for an orthogonal frame of equal norms.

    >>> condition(torch.diag(torch.tensor([1.0, 4.0, 0.0])), 2).item()
    4.0
    """
    values = spectrum(matrix, rank)
    return values[0] / values[-1]


def imbalance(later: Tensor, earlier: Tensor) -> tuple[Tensor, Tensor]:
    """norm(W_{l+1}^T W_{l+1} - W_l W_l^T) of a later (a, d) and an earlier (d, b) layer: as it is, and relative. Operator norms.

    Relative: over the smaller of the operator norms of the two Gram matrices, so that it has no scale (our normalisation).

    >>> [v.item() for v in imbalance(torch.tensor([[2.0, 0.0]]), torch.diag(torch.tensor([2.0, 1.0])))]
    [1.0, 0.25]
    """
    later, earlier = as_tensor(later, "later"), as_tensor(earlier, "earlier")
    if later.ndim != 2 or earlier.ndim != 2 or later.shape[1] != earlier.shape[0]:
        raise InputError(f"layers of shapes {tuple(later.shape)} and {tuple(earlier.shape)} do not follow one another.")
    if not bool(torch.isfinite(later).all() & torch.isfinite(earlier).all()):
        raise InputError("the weights must be finite; they contain NaN or infinite values.")
    a, b = later.double().T @ later.double(), earlier.double() @ earlier.double().T  # (d, d)
    difference, *grams = (decompose(torch.linalg.eigvalsh, m).abs().max() for m in (a - b, a, b))
    return difference, difference / torch.minimum(*grams)


def negativity(activations: Tensor) -> Tensor:
    """norm(Z - relu(Z)) / norm(Z) of pre-activations (N, d), operator norms: 0 where no entry is negative.

    >>> round(negativity(torch.tensor([[3.0, 0.0], [0.0, -4.0]])).item(), 6), negativity(torch.ones(2, 2)).item()
    (1.0, 0.0)
    """
    activations = as_tensor(activations, "activations")
    if activations.ndim != 2 or not bool(torch.isfinite(activations).all()):
        raise InputError(
            f"negativity needs finite activations of shape (N, d), not {tuple(activations.shape)} with NaN or infinite values."
        )
    return _operator_norm(activations.clamp(max=0)) / _operator_norm(activations)


def alignment(features: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Mean over samples of the cosine between a feature vector and its class's row of the classifier, in [-1, 1]: NC3 of the paper.

    Features (N, d), labels (N,), weight (C, d).

    >>> alignment(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]), torch.eye(2)).item()
    1.0
    """
    features, labels, _ = check_features(features, labels)
    weight = as_tensor(weight, "weight").to(features.device)
    if weight.ndim != 2 or weight.shape[1] != features.shape[1] or len(weight) <= int(labels.max()):
        raise InputError(
            f"the weight must have the shape (C, d), not {tuple(weight.shape)}, for features of shape {tuple(features.shape)}."
        )
    return nn.functional.cosine_similarity(features.double(), weight.double()[labels.to(features.device)]).mean()


def _operator_norm(matrix: Tensor) -> Tensor:
    values = matrix.double()
    gram = values.T @ values if values.shape[0] > values.shape[1] else values @ values.T  # the smaller of the two
    return decompose(torch.linalg.eigvalsh, gram)[-1].clamp(min=0).sqrt()


@torch.no_grad()
def linear_layers_table(network: nn.Module, batches, num_classes: int, head: int) -> list[dict]:
    """One row for each linear layer of a network that runs them one after another, first to last, and one, layer 0, for what comes in.

    `batches` gives (x, y); `head` is how many of the last layers have nothing between them. In the row of layer l: Z_l is what it hands to
    layer l + 1 (or puts out, for the last), W_l its weight.

    ``within``, ``between``: Tr Sigma_W and Tr Sigma_B of Z_l; ``kappa_means``: condition number of its class means, not centred;
    ``feature_norm``: operator norm of Z_l; ``negativity``: of the pre-activations; ``weight_largest``, ``weight_smallest``: sigma_1 and
    sigma_K of W_l; ``imbalance``,
    ``balancedness``: of W_{l+1} and W_l, as they are and relative; ``alignment``: of Z_l with the rows of W_{l+1}, where that is the last.
    NaN where there is none. Besides, in every row: ``kappa_product`` of the head and ``residual`` = norm(Z_L - Y)_F.
    """
    weights, inputs, outputs, labels = _passes(network, batches)
    if not 1 <= head <= len(weights):
        raise InputError(f"the network has {len(weights)} linear layers, so its head cannot have {head}.")
    count = len(weights)
    passed = [*inputs, outputs[-1]]  # Z_0 … Z_L: after the activation, where there is one
    one_hot = nn.functional.one_hot(labels, num_classes)
    product = weights[-1]
    for weight in weights[-2 : -head - 1 : -1]:
        product = product @ weight
    same = {
        "samples": len(labels),
        "kappa_product": condition(product, num_classes),
        "residual": (outputs[-1].double() - one_hot).norm(),
    }
    rows = []
    for layer, z in enumerate(passed):
        moments = ClassMoments.from_features(z, labels, num_classes=num_classes)
        row = {
            "layer": layer,
            "linear": layer > count - head,
            "dimension": z.shape[1],
            "within": moments.within(),
            "between": moments.between(),
            "kappa_means": condition(moments.mean, num_classes) if z.shape[1] >= num_classes else float("nan"),
            "feature_norm": _operator_norm(z),
        }
        if layer > 0:
            values = spectrum(weights[layer - 1], min(num_classes, *weights[layer - 1].shape))
            row |= {"negativity": negativity(outputs[layer - 1]), "weight_largest": values[0], "weight_smallest": values[-1]}
        if 0 < layer < count:
            row["imbalance"], row["balancedness"] = imbalance(weights[layer], weights[layer - 1])
        if layer == count - 1:
            row["alignment"] = alignment(z, labels, weights[-1])
        rows.append({name: _plain(value) for name, value in (row | same).items()})
    return rows


def head_spectra(network: nn.Module, num_classes: int, head: int) -> list[list[float]]:
    """The C largest singular values of each of the last `head` linear layers, first to last."""
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)][-head:]
    return [spectrum(layer.weight.detach(), num_classes).tolist() for layer in layers]


def _passes(network: nn.Module, batches) -> tuple[list[Tensor], list[Tensor], list[Tensor], Tensor]:
    """Weights, inputs (N, d_l) and outputs of the linear layers in the order in which they run, and the labels (N,)."""
    seen: dict[nn.Module, tuple[list, list]] = {}

    def keep(layer, inputs, output):
        came, went = seen.setdefault(layer, ([], []))
        came.append(inputs[0].clone())  # copies, for what comes after may change them in place
        went.append(output.clone())

    hooks = [m.register_forward_hook(keep) for m in network.modules() if isinstance(m, nn.Linear)]
    try:
        labels = torch.cat([(network(x), y)[1] for x, y in batches])
    finally:
        for one in hooks:
            one.remove()
    if not seen:
        raise InputError("the network has no linear layers.")
    inputs, outputs = ([torch.cat(kept[side]) for kept in seen.values()] for side in (0, 1))
    return [layer.weight.double() for layer in seen], inputs, outputs, labels


def _plain(value):
    return value.item() if isinstance(value, Tensor) else value
