"""What each metric sees: two small drawings each, in which it differs, with the numbers that the package gives for the points drawn.

``book/_pictures.html`` is what `markup` returns, so that a build needs no torch for it: ``python -m ncbook.publish.pictures`` writes it
anew, and a test compares the two.
"""

from dataclasses import dataclass
from html import escape
from math import cos, pi, sin

import torch
from torch import Tensor

from ncbook import paths
from ncbook.metrics.table import collapse_table

SIZE = 14  # points a class
SCALE = 32  # units of a drawing, which is 120 wide, a unit of the plane
COLOURS = ("#0072B2", "#D55E00", "#009E73")
SIMPLEX = torch.tensor([[sin(2 * pi * k / 3), cos(2 * pi * k / 3)] for k in range(3)])  # (C, 2), the first one above


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Points (N, 2) with their classes (N,), a classifier where it matters, and train means where a test set is drawn."""

    features: Tensor
    labels: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None
    train: tuple[Tensor, Tensor] | None = None

    def numbers(self) -> dict[str, float]:
        """All that `collapse_table` says of the points."""
        here = (self.features, self.labels)
        train, test = (here, None) if self.train is None else (self.train, here)
        return collapse_table(train, test, weight=self.weight, bias=self.bias, kmeans=False, vci=True).iloc[-1].to_dict()

    def crossed(self) -> Tensor:
        """Whether the network decides otherwise than the nearest class mean, by point."""
        if self.weight is None:
            return torch.zeros(len(self.labels), dtype=torch.bool)
        means = torch.stack([self.features[self.labels == c].mean(0) for c in range(len(self.weight))])
        scores = self.features @ self.weight.T + (0 if self.bias is None else self.bias)
        return scores.argmax(1) != torch.cdist(self.features, means).argmin(1)


@dataclass(frozen=True)
class Picture:
    """One metric: what it sees in words, two panels, and the columns whose numbers stand below them."""

    name: str
    words: str
    alt: str
    panels: tuple[Panel, Panel]
    columns: tuple[str, ...]


def cloud(classes: int) -> Tensor:
    """Offsets (classes · SIZE, 2) whose mean is 0 and whose covariance is the identity, exactly so in each class."""
    generator, parts = torch.Generator().manual_seed(3), []
    for _ in range(classes):
        raw = torch.randn(SIZE, 2, generator=generator, dtype=torch.float64)
        raw = raw - raw.mean(0)
        parts.append(raw @ torch.linalg.inv(torch.linalg.cholesky(raw.T @ raw / SIZE)).T)
    return torch.cat(parts).float()


def drawn(means: Tensor, spread: float | list[float], **options) -> Panel:
    """A panel of classes around `means` (C, 2), all as wide as `spread`, in all directions or in each of two."""
    labels = torch.arange(len(means)).repeat_interleave(SIZE)
    return Panel(features=means[labels] + cloud(len(means)) * torch.tensor(spread), labels=labels, **options)


def pictures() -> list[Picture]:
    """The metrics that a plane can show, in the order of the page."""
    two = torch.tensor([[-0.8, 0.0], [0.8, 0.0]])
    near = torch.tensor([[0.0, 1.0], [0.35, -0.5], [-0.35, -0.5]])
    near = (near - near.mean(0)) * ((SIMPLEX**2).sum() / ((near - near.mean(0)) ** 2).sum()).sqrt()  # so that V is the same
    long = torch.tensor([[0.0, 1.0], [0.3, -0.2], [-1.0, -0.6]])
    turn = torch.tensor([[cos(0.7), -sin(0.7)], [sin(0.7), cos(0.7)]])
    flat = drawn(SIMPLEX, [0.45, 0.15])
    train = drawn(SIMPLEX, 0.01)
    wrong = torch.where(torch.arange(3 * SIZE) % SIZE < 5, (train.labels + 1) % 3, train.labels)
    between = SIMPLEX[train.labels] * (1 - 0.62 * (torch.arange(3 * SIZE) % SIZE < 9))[:, None] + 0.03 * cloud(3)
    return [
        Picture(
            "variance_ratio",
            "how wide the classes are, beside how far apart: all directions count",
            "Three wide clouds of points, and three narrow ones in the same places.",
            (drawn(SIMPLEX, 0.3), drawn(SIMPLEX, 0.06)),
            ("variance_ratio",),
        ),
        Picture(
            "nc1",
            "only the width in directions that lead from one class mean to another",
            "Two flat clouds, first along the line between their means, then across it.",
            (drawn(two, [0.35, 0.02]), drawn(two, [0.02, 0.35])),
            ("nc1", "variance_ratio"),
        ),
        Picture(
            "cdnv",
            "pair by pair, so that two near classes weigh more",
            "Three clouds at equal distances, and two of three close together.",
            (drawn(SIMPLEX, 0.16), drawn(near, 0.16)),
            ("cdnv", "variance_ratio"),
        ),
        Picture(
            "vci",
            "what no stretching of the space changes",
            "Three clouds, and the same stretched along one axis.",
            (flat, Panel(features=flat.features * torch.tensor([0.4, 1.3]), labels=flat.labels)),
            ("vci", "variance_ratio"),
        ),
        Picture(
            "nc2_equinorm",
            "whether the means are equally far from their centre",
            "Three class means joined to their centre by lines of unequal lengths, then of equal ones.",
            (drawn(long, 0.05), drawn(SIMPLEX, 0.05)),
            ("nc2_equinorm",),
        ),
        Picture(
            "nc2_max_angle",
            "whether all angles between them are as large as can be; nc2_equiangularity: whether they are equal",
            "Three class means at unequal angles, then at equal ones.",
            (drawn(near, 0.05), drawn(SIMPLEX, 0.05)),
            ("nc2_max_angle", "nc2_equiangularity"),
        ),
        Picture(
            "nc3_self_duality",
            "whether the classifier’s rows (arrows) point to the means",
            "An arrow of each class beside its mean, then towards it.",
            (drawn(SIMPLEX, 0.05, weight=0.6 * SIMPLEX @ turn), drawn(SIMPLEX, 0.05, weight=0.6 * SIMPLEX)),
            ("nc3_self_duality",),
        ),
        Picture(
            "nc4_ncc_mismatch",
            "for how many points (ringed) the network decides otherwise than the nearest mean",
            "Three wide clouds; some points between them are ringed, then none is.",
            (
                drawn(SIMPLEX, 0.35, weight=SIMPLEX, bias=torch.tensor([0.5, 0.0, 0.0])),
                drawn(SIMPLEX, 0.35, weight=SIMPLEX, bias=torch.zeros(3)),
            ),
            ("nc4_ncc_mismatch",),
        ),
        Picture(
            "weak_nearest_mean",
            "on a test set: whether each point sits on some train mean, right or wrong",
            "Points of a test set on the train means, some of them on another class’s, then points on the way to their own.",
            (
                Panel(features=SIMPLEX[wrong] + 0.07 * cloud(3), labels=train.labels, train=(train.features, train.labels)),
                Panel(features=between, labels=train.labels, train=(train.features, train.labels)),
            ),
            ("weak_nearest_mean", "variance_ratio"),
        ),
    ]


def markup() -> str:
    """All pictures as HTML."""
    return '<div class="nc-pictures">\n' + "\n".join(_figure(picture) for picture in pictures()) + "\n</div>\n"


def _figure(picture: Picture) -> str:
    sides = []
    for panel in picture.panels:
        numbers = panel.numbers()
        said = "<br>".join(f"<code>{column}</code> {_digits(numbers[column])}" for column in picture.columns)
        sides.append(f"<div>{_svg(panel, arrows=picture.name == 'nc3_self_duality')}<p>{said}</p></div>")
    words = f"<b><code>{picture.name}</code></b> {escape(picture.words)}"
    return f'<figure role="group" aria-label="{escape(picture.alt)}"><div>{"".join(sides)}</div><figcaption>{words}</figcaption></figure>'


def _digits(value: float) -> str:
    return "0" if abs(value) < 5e-7 else f"{value:.2g}" if abs(value) >= 1e-3 else f"{value:.0e}".replace("e-0", "e−")


def _svg(panel: Panel, *, arrows: bool) -> str:
    """A panel in its own coordinates, y upwards; what joins the means is drawn in the colour of the text."""
    marks = []
    features, labels = (panel.features, panel.labels) if panel.train is None else panel.train
    means = torch.stack([features[labels == c].mean(0) for c in range(int(labels.max()) + 1)])
    centre = means.mean(0)
    for mean in means:
        marks.append(f'<path d="M{_at(centre)}L{_at(mean)}" stroke="currentColor" stroke-opacity=".45" stroke-width=".8" fill="none"/>')
    for point, label, ring in zip(panel.features, panel.labels.tolist(), panel.crossed().tolist(), strict=True):
        marks.append(_mark(point, label))
        if ring:
            marks.append(f'<circle cx="{_x(point)}" cy="{_y(point)}" r="3.4" stroke="currentColor" stroke-width=".9" fill="none"/>')
    if arrows and panel.weight is not None:
        for label, row in enumerate(panel.weight):
            marks.append(_arrow(row, COLOURS[label]))
    return f'<svg viewBox="0 0 120 108" aria-hidden="true">{"".join(marks)}</svg>'


def _x(point: Tensor) -> str:
    return f"{60 + SCALE * float(point[0]):.1f}"


def _y(point: Tensor) -> str:
    return f"{60 - SCALE * float(point[1]):.1f}"


def _at(point: Tensor) -> str:
    return f"{_x(point)} {_y(point)}"


def _mark(point: Tensor, label: int) -> str:
    """A disc, a square or a triangle: the class is seen without its colour."""
    if label == 0:
        return f'<circle cx="{_x(point)}" cy="{_y(point)}" r="1.9" fill="{COLOURS[0]}"/>'
    shape = "h3.2v3.2h-3.2z" if label == 1 else "l2 3.6h-4z"
    corner = point + (torch.tensor([-1.6, 1.6]) if label == 1 else torch.tensor([0.0, 2.0])) / SCALE
    return f'<path d="M{_at(corner)}{shape}" fill="{COLOURS[label]}"/>'


def _arrow(row: Tensor, colour: str) -> str:
    back, side = -0.12 * row / row.norm(), torch.stack([row[1], -row[0]]) * 0.07 / row.norm()
    head = f"M{_at(row + back + side)}L{_at(row)}L{_at(row + back - side)}"
    return f'<path d="M{_at(torch.zeros(2))}L{_at(row)}{head}" stroke="{colour}" stroke-width="2.2" fill="none"/>'


if __name__ == "__main__":
    (paths.root() / "book" / "_pictures.html").write_text(markup(), encoding="utf-8")
