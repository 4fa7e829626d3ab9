"""Deep unconstrained features: what collapse costs, and what solutions of lower rank cost, in closed form.

Free features H (d, nK) and L weight matrices, output W_L σ(W_{L-1} σ(… W_1 H)), with σ the ReLU or nothing, on K classes of n samples each:

    loss = fit + λ/2 (‖H‖² + ‖W_1‖² + … + ‖W_L‖²),

all norms Frobenius. The fit is the mean over samples of half the squared distance to one-hot targets (Súkeník, Lampert & Mondelli 2024) or
of the cross-entropy (Garrod & Keating 2025). A family of solutions that differ in scale only has the least sum of squares
(L + 1) · cost · n^(1/(L+1)) · x^(2/(L+1)) where the output is x times that of scale 1: with a singular value of the output for every
direction, the cost is the Schatten quasi-norm Σ s^(2/(L+1)). It is all by which families differ where λ is small.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from ncbook.errors import InputError


def power(layers: int) -> float:
    """2 / (L + 1), the exponent of the Schatten quasi-norm that L weight matrices and free features make of weight decay.

    >>> power(4)
    0.4
    """
    if layers < 1:
        raise InputError(f"there must be at least one weight matrix, not {layers}.")
    return 2 / (layers + 1)


def graph_classes(vertices: int) -> int:
    """r (r - 1) / 2 classes: one for each edge of the complete graph on r vertices.

    >>> [graph_classes(r) for r in (4, 5, 6, 10)]
    [6, 10, 15, 45]
    """
    if vertices < 4:
        raise InputError(f"the graph needs at least four vertices, or no two of its edges are apart, not {vertices}.")
    return vertices * (vertices - 1) // 2


def incidence(vertices: int) -> np.ndarray:
    """Vertices against edges of the complete graph (r, K): 1 where an edge has the vertex. Its rank is r.

    Of two different edges the inner product is 1 when they share a vertex and 0 when they do not.

    >>> incidence(4).astype(int).tolist()
    [[1, 1, 1, 0, 0, 0], [1, 0, 0, 1, 1, 0], [0, 1, 0, 1, 0, 1], [0, 0, 1, 0, 1, 1]]
    """
    classes = graph_classes(vertices)
    ends = np.array(np.triu_indices(vertices, 1))  # (2, K)
    found = np.zeros((vertices, classes))
    found[ends, np.arange(classes)] = 1.0
    return found


def graph_before_relu(vertices: int) -> np.ndarray:
    """The last hidden layer of the graph's solution before its ReLU (K, K), at scale 1: AᵀA - 1 with A the incidence matrix.

    Classes whose edges share a vertex are at right angles, others opposite: 1 on the diagonal, 0 or -1 beside it, so that the ReLU makes it
    the identity. Its rank is that of A, or one less at four vertices (Súkeník et al. 2024, their "strongly regular graph" solution, as we
    read it: that the last ReLU alone restores rank K from rank r).

    >>> m = graph_before_relu(5)
    >>> bool((np.maximum(m, 0) == np.eye(10)).all()), int(np.linalg.matrix_rank(m))
    (True, 5)
    """
    a = incidence(vertices)
    return a.T @ a - 1


def collapse_cost(classes: int) -> float:
    """The cost of collapse in all layers with squared loss: class means orthogonal, the output x times the identity, so K singular values.

    >>> collapse_cost(10)
    10.0
    """
    if classes < 2:
        raise InputError(f"there must be at least two classes, not {classes}.")
    return float(classes)


def graph_cost(vertices: int, layers: int) -> float:
    """The cost of the graph's solution at its best balance of the layers, for L ≥ 3 with ReLU and squared loss.

    W_1 H = a A costs 2a times the nuclear norm of A; each of the L - 3 middle matrices c · 1_r costs c² r; W_{L-1} = b (Aᵀ - ½) costs
    b² K r / 4, and W_L = d · 1_K costs d² K. With a c^(L-3) b d = 1, the least sum is (L + 1)/2 · G^(-2/(L+1)); collapse costs K.

    >>> [round(graph_cost(5, layers) / 10, 4) for layers in (3, 4, 5, 7)]
    [1.0444, 0.9014, 0.817, 0.7226]
    """
    classes = graph_classes(vertices)
    if layers < 3:
        raise InputError(f"the graph's solution needs at least three weight matrices, not {layers}.")
    nuclear = math.sqrt(2 * (vertices - 1)) + (vertices - 1) * math.sqrt(vertices - 2)
    g = (1 / (2 * nuclear)) * (2 * vertices) ** (-(layers - 3) / 2) * math.sqrt(2 / (classes * vertices)) / math.sqrt(2 * classes)
    return 0.5 * g ** -power(layers)


def squared_loss(cost: float, *, classes: int, layers: int, weight_decay: float, per_class: int = 1) -> float:
    """The least loss of a family of that cost with squared loss: min over x of (1 - x)²/2 + λ/2 (L + 1) cost n^(1/(L+1)) x^(2/(L+1)).

    Where weight decay is so large that giving up is better, that is the loss at x = 0, 1/2.

    >>> round(squared_loss(collapse_cost(10), classes=10, layers=4, weight_decay=0.004), 4)
    0.0992
    >>> round(squared_loss(graph_cost(5, 4), classes=10, layers=4, weight_decay=0.004), 4)
    0.0895
    """
    p = power(layers)
    if min(cost, weight_decay, per_class) <= 0 or classes < 2:
        raise InputError(f"cost, weight decay and samples must be positive, not {cost}, {weight_decay} and {per_class}.")
    pull = weight_decay * cost * per_class ** (p / 2)  # slope of the penalty at x = 1, as (L + 1) p / 2 = 1
    penalty = pull / p

    def value(x: float) -> float:
        return (1 - x) ** 2 / 2 + penalty * x**p

    # the slope, times x^(1-p), is pull - (1 - x) x^(1-p): least where (1 - x) x^(1-p) is largest, and the minimum lies beyond
    largest = (1 - p) / (2 - p)
    if (1 - largest) * largest ** (1 - p) <= pull:
        return 0.5
    x = brentq(lambda x: pull - (1 - x) * x ** (1 - p), largest, 1.0, xtol=1e-14)
    return min(0.5, value(x))


def linear_collapse_cost(classes: int) -> float:
    """The cost of collapse with cross-entropy and no ReLU: logits a simplex of margin 1, I - 1/K, so K - 1 singular values of 1.

    >>> linear_collapse_cost(6)
    5.0
    """
    return collapse_cost(classes) - 1


def pairs_cost(classes: int, layers: int) -> float:
    """The cost of classes in opposite pairs, of margin 1: ⌊K/2⌋ singular values of 2, and that of the class left over where K is odd.

    A pair's logits are ((1, -1), (-1, 1)), 0 for all other classes, whose margin is 1 therefore. One class left over has one direction,
    along which it stands at 1 - 1/K and all others at -1/K.

    >>> [round(pairs_cost(k, 2) / linear_collapse_cost(k), 3) for k in (4, 5, 6, 10)]
    [1.058, 1.026, 0.952, 0.882]
    """
    collapse_cost(classes)
    p, pairs = power(layers), classes // 2
    left_over = (1 - 1 / classes) ** (p / 2) if classes % 2 else 0.0
    return pairs * 2**p + left_over


def pairs_beat_collapse(classes: int, layers: int) -> bool:
    """Whether pairs cost less than collapse, so that collapse is not optimal for small λ without ReLU and with cross-entropy.

    It is so from (K, L) = (4, 3) and (6, 2) on, the thresholds of Garrod & Keating (2025) for their deep linear model, and never at L = 1.

    >>> [min(k for k in range(4, 100) if pairs_beat_collapse(k, layers)) for layers in (2, 3, 9)]
    [6, 4, 4]
    >>> any(pairs_beat_collapse(k, 1) for k in range(4, 100))
    False
    """
    return pairs_cost(classes, layers) < linear_collapse_cost(classes) - 1e-12


def _least_cross_entropy(fit: Callable[[float], float], cost: float, layers: int, weight_decay: float, per_class: int) -> float:
    p = power(layers)
    factor = weight_decay / p * cost * per_class ** (p / 2)
    # the loss has a second minimum at margin 0, so the scale is searched in logarithms from a grid's best point on
    margins = np.geomspace(1e-6, 1e3, 400)

    def value(log_margin: float) -> float:
        margin = math.exp(log_margin)
        return fit(margin) + factor * margin**p

    best = int(np.argmin([value(math.log(m)) for m in margins]))
    around = math.log(margins[max(0, best - 1)]), math.log(margins[min(len(margins) - 1, best + 1)])
    return min(fit(0.0), float(minimize_scalar(value, bounds=around, method="bounded", options={"xatol": 1e-10}).fun))


def linear_collapse_loss(classes: int, layers: int, *, weight_decay: float, per_class: int = 1) -> float:
    """The least cross-entropy loss of collapse in the deep linear model: min over the margin m of log(1 + (K - 1) e^-m) and the penalty.

    >>> round(linear_collapse_loss(10, 2, weight_decay=2**-10), 5)
    0.05546
    """
    others = classes - 1
    return _least_cross_entropy(lambda m: math.log1p(others * math.exp(-m)), linear_collapse_cost(classes), layers, weight_decay, per_class)


def pairs_loss(classes: int, layers: int, *, weight_decay: float, per_class: int = 1) -> float:
    """The least cross-entropy loss of an even number of classes in opposite pairs, in the deep linear model.

    >>> pairs = pairs_loss(10, 2, weight_decay=2**-10)
    >>> round(pairs / linear_collapse_loss(10, 2, weight_decay=2**-10), 4)
    0.8825
    """
    if classes % 2 or classes < 2:
        raise InputError(f"pairs need an even number of classes, not {classes}.")

    def fit(m: float) -> float:
        return math.log1p((classes - 2) * math.exp(-m) + math.exp(-2 * m))

    return _least_cross_entropy(fit, pairs_cost(classes, layers), layers, weight_decay, per_class)
