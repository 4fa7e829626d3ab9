"""Covering numbers of the classes, and the bound on the error from them (Gao et al. 2023, Theorem 4.8 as their reviewers quote it).

If f is L-Lipschitz and gamma_{y,k} the least margin of class y against k on the training set, a sample within
eps_{y,k} = gamma_{y,k} / (L |w_y - w_k|) of a training sample of its class is not taken for k. Cut the support of class y into cells of
diameter eps: only a cell without a training sample can be got wrong, and one of mass p has none with probability (1 - p)^N_y, so that p (1
- p)^N_y <= 1 / (2 N_y). Hence

    error <= 1 / (2 N) * sum over y of the number of cells, at the smallest eps_{y,k}.

Supports and L live in one space: that of the images, with L a Lipschitz constant of the network up to its features; or that of the
features, with L = 1. The support is not known. Samples of it give numbers that are too small, never too large, where "low" is taken.
"""

import torch
from torch import Tensor, nn

from ncbook.errors import InputError
from ncbook.metrics.moments import check_features
from ncbook.models.networks import ACTIVATIONS


def covering_number(points: Tensor, diameter: float) -> tuple[int, int]:
    """How many cells of a diameter the points (n, d) need: between the two numbers, low and high, by greedy nets.

    Points that are pairwise further apart than the diameter lie in different cells: the greedy net at that distance is `low`, also for
    any set that the points are a sample of. Balls of half the diameter are cells: the greedy net at half the distance is `high`.

    >>> covering_number(torch.tensor([[0.0], [1.0], [2.0], [10.0]]), 2.0)  # two are enough: around 1 and around 10
    (2, 3)
    """
    points = torch.as_tensor(points).double()
    if points.ndim != 2 or not len(points) or not points.isfinite().all():
        raise InputError(f"points must be finite and have the shape (n, d) with n of at least 1, not {tuple(points.shape)}.")
    if not diameter >= 0:
        raise InputError(f"the diameter of a cell must be 0 or more, not {diameter}.")
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    return greedy_net(distances, diameter), greedy_net(distances, diameter / 2)


def greedy_net(distances: Tensor, radius: float) -> int:
    """Size of the net that takes each point, in order, that no earlier one covers: `distances` (n, n), covered at `radius` or nearer.

    >>> greedy_net(torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 0.0]]), 1.0)
    2
    """
    near = (distances <= radius).cpu().numpy()
    covered, size = ~near.any(1), 0  # nothing is covered; a point covers itself
    for i in range(len(near)):
        if not covered[i]:  # type: ignore[index]
            covered, size = covered | near[i], size + 1
    return size


def cell_diameters(gamma: Tensor, weight: Tensor, lipschitz: float = 1.0) -> Tensor:
    """eps (C, C) of class pairs from their margins (C, C), see `margins.pairwise_margins`, and the weight (C, d); infinite on the diagonal.

    >>> cell_diameters(torch.tensor([[torch.inf, 2.0], [2.0, torch.inf]]), torch.tensor([[1.0], [-1.0]])).tolist()
    [[inf, 1.0], [1.0, inf]]
    """
    weight, gamma = torch.as_tensor(weight).detach().double(), torch.as_tensor(gamma).double()
    if weight.ndim != 2 or gamma.shape != (len(weight), len(weight)):
        raise InputError(f"margins (C, C) and weight (C, d) do not fit together: {tuple(gamma.shape)} and {tuple(weight.shape)}.")
    if not lipschitz > 0:
        raise InputError(f"a Lipschitz constant is above 0, not {lipschitz}.")
    apart = torch.cdist(weight, weight, compute_mode="donot_use_mm_for_euclid_dist")
    eps = gamma / (lipschitz * apart)
    if (eps.fill_diagonal_(torch.inf) < 0).any() or eps.isnan().any():
        raise InputError("a pair of classes has a negative margin, or equal weights: the bound is for a training set without an error.")
    return eps


def covering_bound(points: Tensor, labels: Tensor, eps: Tensor, samples: int) -> tuple[float, float]:
    """The bound, low and high (see `covering_number`), of points (n, d) of the supports with labels (n,), eps (C, C) and so many training
    samples.

    It cannot say more than that each training class is one cell, C / (2 N), nor less than 1/2 on the training points themselves.

    >>> covering_bound(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([0, 0, 1]), torch.full((2, 2), 2.0), samples=3)
    (0.3333333333333333, 0.3333333333333333)
    """
    points, labels, classes = check_features(points, labels, num_classes=len(eps))
    if samples < 1:
        raise InputError(f"there must be a training sample at least, not {samples}.")
    if (labels.bincount(minlength=classes) == 0).any():
        raise InputError("each class needs at least one point of its support.")
    others = torch.as_tensor(eps).double().clone().fill_diagonal_(torch.inf).amin(1)  # (C,): the smallest cells are the most
    counts = [covering_number(points[labels.to(points.device) == y], float(others[y])) for y in range(classes)]
    low, high = (sum(c) / (2 * samples) for c in zip(*counts, strict=True))
    return low, high


def class_distances(points: Tensor, labels: Tensor) -> Tensor:
    """Distance (C, C) between the two nearest points of each pair of classes; infinite on the diagonal.

    Twice the average of eps_{y,k} and eps_{k,y} is at most this, in the space of the images, whatever the network: the scores' difference
    moves by at least gamma_{y,k} + gamma_{k,y} between the two images, and by at most L |w_y - w_k| times their distance.

    >>> class_distances(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([0, 0, 1])).tolist()
    [[inf, 4.0], [4.0, inf]]
    """
    points, labels, classes = check_features(points, labels)
    labels = labels.to(points.device)
    groups = [points[labels == y].double() for y in range(classes)]
    if any(len(group) == 0 for group in groups):
        raise InputError("each class needs at least one point.")
    table = torch.full((classes, classes), torch.inf, dtype=torch.float64, device=points.device)
    for y in range(classes):
        for k in range(y):
            table[y, k] = table[k, y] = torch.cdist(groups[y], groups[k], compute_mode="donot_use_mm_for_euclid_dist").min()
    return table


def least_lipschitz(points: Tensor, labels: Tensor, targets: Tensor) -> float:
    """The least Lipschitz constant of a map that sends each point (n, d) to its class's vector of the `targets` (C, k).

    The largest |m_y - m_k| over the distance of two points of the classes. No map has less, and one has exactly that: by Kirszbraun's
    theorem a map of finitely many points extends to the whole space without a larger constant.

    >>> least_lipschitz(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([0, 0, 1]), torch.tensor([[1.0], [-1.0]]))
    0.5
    """
    targets = torch.as_tensor(targets).double()
    apart = class_distances(points, labels)
    if targets.ndim != 2 or len(targets) != len(apart):
        raise InputError(f"the targets (C, k) need a vector for each of the {len(apart)} classes; it has the shape {tuple(targets.shape)}.")
    if (apart == 0).any():
        raise InputError("two classes share a point: no map sends it to both.")
    return float((torch.cdist(targets, targets).to(apart.device) / apart).max())


def lipschitz_bound(blocks: nn.Module) -> float:
    """The product of spectral norms of a chain of linear layers and activations: an upper bound on its Lipschitz constant (Euclidean
    norms).

    nan where there is anything else, such as batch norm or a convolution: no bound is known here, which is not the same as infinite.

    >>> chain = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> _ = nn.init.constant_(chain[0].weight, 1.0), nn.init.constant_(chain[2].weight, 3.0)
    >>> round(lipschitz_bound(chain), 4)  # 2 * 3 sqrt 2
    8.4853
    """
    steady = (nn.Flatten, *(kind for name, kind in ACTIVATIONS.items() if name != "gelu"))  # their constant is 1; GELU's is not
    product = 1.0
    for module in blocks.modules():
        if isinstance(module, nn.Linear):
            product *= torch.linalg.matrix_norm(module.weight.detach().double(), 2).item()
        elif not isinstance(module, (*steady, nn.Sequential, nn.ModuleDict)):
            return torch.nan
    return product
