"""Time of the collapse metrics beside the textbook computation: ``python tests/benchmarks/bench_metrics.py [N,d,C ...]``.

Textbook: float64 copies, class means, the d x d covariances Sigma_W and Sigma_B, ``pinv``. Both give V, NC1, CDNV, NC2 and the
nearest-mean error of one set of float32 features; the last column is ncbook's time over that of reading the features once.
"""

import sys
from time import perf_counter

import torch

from ncbook.metrics import collapse_table

SHAPES = [(50_000, 512, 10), (20_000, 2048, 100), (10_000, 512, 10)]


def features(n: int, d: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n)[torch.randperm(n, generator=generator)] % classes
    means = torch.randn(classes, d, generator=generator)
    return torch.randn(n, d, generator=generator).mul_(0.3).add_(means[labels]), labels


def textbook(values: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    values = values.double()
    classes = int(labels.max()) + 1
    means = torch.stack([values[labels == c].mean(0) for c in range(classes)])
    centred = means - means.mean(0)
    offsets = values - means[labels]
    within = offsets.T @ offsets / len(values)  # (d, d), balanced classes
    between = centred.T @ centred / classes
    variance = torch.stack([offsets[labels == c].square().sum(1).mean() for c in range(classes)])
    i, j = torch.triu_indices(classes, classes, 1)
    norms = centred.norm(dim=1)
    cosines = (centred @ centred.T / norms / norms[:, None])[i, j]
    return {
        "variance_ratio": (within.trace() / between.trace()).item(),
        "nc1": ((within @ torch.linalg.pinv(between, hermitian=True)).trace() / classes).item(),
        "cdnv": ((variance[i] + variance[j]) / (2 * torch.cdist(means, means)[i, j].square())).mean().item(),
        "nc2_equinorm": (norms.std() / norms.mean()).item(),
        "nc2_equiangularity": cosines.std(correction=0).item(),
        "nc2_max_angle": (cosines + 1 / (classes - 1)).abs().mean().item(),
        "ncc_error": (torch.cdist(values, means).argmin(1) != labels).double().mean().item(),
    }


def best(repeats: int, function, *args, **options) -> float:
    times = []
    for _ in range(repeats):
        start = perf_counter()
        function(*args, **options)
        times.append(perf_counter() - start)
    return min(times)


def main(shapes) -> None:
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}; best of several runs")
    print(
        f"{'N, d, C':>16} {'textbook s':>11} {'ncbook s':>9} {'ratio':>6} {'/ one read':>10} {'with k-means s':>14} {'largest difference':>19}"
    )
    for n, d, classes in shapes:
        values, labels = features(n, d, classes)
        slow = textbook(values, labels)
        fast = collapse_table((values, labels), kmeans=False).iloc[0]
        difference = max(abs(fast[name] / slow[name] - 1) if slow[name] else abs(fast[name]) for name in slow)
        assert difference < 1e-4, f"{n}, {d}, {classes}: {slow} against {fast.to_dict()}"
        old = best(2, textbook, values, labels)
        new = best(5, collapse_table, (values, labels), kmeans=False)
        everything = best(2, collapse_table, (values, labels))
        read = best(5, values.sum)
        print(
            f"{f'{n}, {d}, {classes}':>16} {old:11.3f} {new:9.3f} {old / new:6.1f} {new / read:10.1f} {everything:14.3f} {difference:19.1e}"
        )


if __name__ == "__main__":
    main([tuple(map(int, shape.split(","))) for shape in sys.argv[1:]] or SHAPES)
