"""Time of the collapse metrics over the least that any could take: ``python tests/benchmarks/bench_metrics.py [N,d,C ...]``.

The floor is reading the features once and one product with a (d, C) matrix. All run interleaved, on one thread, and the table gives the
median of each one's time over the floor of the same round; so a busy machine disturbs all alike. Columns:

- ``default``: `collapse_table` as it comes, with k-means; ``measure``: what `measure` does with features in memory, without k-means;
- ``overlap``: the same where the classes overlap (nearest-mean error about .4), so that many samples change group;
- ``float32``: a lean version all in float32, whose V and NC1 are wrong at deep collapse (its error there is printed below);
- ``textbook``: float64 copies, d x d covariances, ``pinv``; left out where d x d would take minutes.

``extra`` is the memory that `collapse_table` takes beside the features, at its peak. Other tools are not on the package index.
"""

import subprocess
import sys
from statistics import median
from time import perf_counter

import torch

from ncbook.metrics import collapse_table

SHAPES = [(50_000, 512, 10), (20_000, 2048, 100), (20_000, 512, 1000), (10_000, 4096, 10), (5_000, 65_536, 10)]
ROUNDS = 5


def features(n: int, d: int, classes: int, *, spread: float = 0.3, offset: float = 0.0):
    """Float32 features, labels and the head (weight, bias) that decides by the nearest mean."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n)[torch.randperm(n, generator=generator)] % classes
    means = torch.randn(classes, d, generator=generator) + offset
    values = torch.randn(n, d, generator=generator).mul_(spread).add_(means[labels])
    weight = means - means.mean(0)
    return values, labels, weight, -(weight @ means.mean(0)) - weight.square().sum(1) / 2


def overlapping(d: int, classes: int) -> float:
    """A spread at which some four samples in ten are nearest to the mean of another class."""
    generator = torch.Generator().manual_seed(1)
    means = torch.randn(classes, d, generator=generator)
    labels = torch.arange(400) % classes
    noise = torch.randn(400, d, generator=generator)
    low, high = 0.1, 1000.0
    for _ in range(30):
        middle = (low * high) ** 0.5
        wrong = (torch.cdist(means[labels] + middle * noise, means).argmin(1) != labels).double().mean()
        low, high = (middle, high) if wrong < 0.4 else (low, middle)
    return low


def floor(values, labels, weight, bias):
    return values.sum(), values @ weight.T


def textbook(values, labels, weight, bias) -> dict[str, float]:
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
        "error": ((values @ weight.double().T + bias).argmax(1) != labels).double().mean().item(),
    }


def float32(values, labels, weight, bias) -> dict[str, float]:
    """V, NC1, nearest mean and predictions with nothing but speed in mind."""
    classes = len(weight)
    count = labels.bincount(minlength=classes)
    means = torch.zeros_like(weight).index_add_(0, labels, values) / count[:, None]
    centred = means - means.mean(0)
    _, singular, right = torch.linalg.svd(centred / classes**0.5, full_matrices=False)
    rank = min(classes - 1, values.shape[1])
    whiten = (right[:rank] / singular[:rank, None]).T
    seen = values @ torch.cat([whiten, weight.T, means.T], 1)
    whitened = (seen[:, :rank] - (means @ whiten)[labels]).square().sum(1)
    within = values.square().sum(1) - means.square().sum(1)[labels]
    nearest = (means.square().sum(1) - 2 * seen[:, -classes:]).argmin(1)
    return {
        "variance_ratio": (within.mean() / centred.square().sum(1).mean()).item(),
        "nc1": (whitened.mean() / classes).item(),
        "ncc_error": (nearest != labels).double().mean().item(),
        "error": ((seen[:, rank:-classes] + bias).argmax(1) != labels).double().mean().item(),
    }


def default(values, labels, weight, bias):
    return collapse_table((values, labels), weight=weight, bias=bias).iloc[0]


def without_kmeans(values, labels, weight, bias):
    return collapse_table((values, labels), weight=weight, bias=bias, kmeans=False).iloc[0]


def seconds(function, data) -> float:
    start = perf_counter()
    function(*data)
    return perf_counter() - start


def ratios(runs: dict[str, tuple]) -> tuple[float, dict[str, float]]:
    """The median floor in seconds, and of each run the median ratio to the floor beside it."""
    for function, data in runs.values():
        function(*data)
    found = {name: [] for name in runs}
    floors = []
    for _ in range(ROUNDS):
        for name, (function, data) in runs.items():
            base = seconds(floor, data)
            floors.append(base)
            found[name].append(seconds(function, data) / base)
    return median(floors), {name: median(values) for name, values in found.items()}


def extra_memory(shape: str) -> float:
    """Peak of a process of its own beside the features, in MB; NaN where the system does not tell."""
    program = f"""
import sys
sys.path.insert(0, {sys.path[0]!r})
import bench_metrics as b

def resident(what):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(what))

b.torch.set_num_threads(1)
b.without_kmeans(*b.features(600, 64, 3))  # libraries
data = b.features(*map(int, {shape!r}.split(",")))
b.floor(data[0][:64], *data[1:])
now = resident("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak so far is forgotten
b.without_kmeans(*data)
print(resident("VmHWM") - now)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return int(done.stdout) / 1024 if done.returncode == 0 else float("nan")


def main(shapes=SHAPES, more: dict | None = None) -> list[dict]:
    torch.set_num_threads(1)
    print(
        f"one thread, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}; time over the floor, median of {ROUNDS} rounds"
    )
    names = ["default", "measure", "overlap", "float32", "textbook", *(more or {})]
    rows = []
    print(f"{'N, d, C':>16} {'floor ms':>9} " + " ".join(f"{name:>10}" for name in names) + f" {'difference':>11} {'extra MB':>9}")
    for n, d, classes in shapes:
        data = features(n, d, classes)
        runs = {"default": (default, data), "measure": (without_kmeans, data), "float32": (float32, data)}
        runs |= {name: (function, data) for name, function in (more or {}).items()}
        runs["overlap"] = (without_kmeans, features(n, d, classes, spread=overlapping(d, classes)))
        difference = float("nan")
        if d <= 4096:
            runs["textbook"] = (textbook, data)
            slow, fast = textbook(*data), without_kmeans(*data)
            difference = max(abs(fast[name] / slow[name] - 1) if slow[name] else abs(fast[name]) for name in slow)
            assert difference < 1e-4, f"{n}, {d}, {classes}: {slow} against {fast.to_dict()}"
        if d > 2048:
            runs.pop("textbook", None)  # a pinv of 4096 x 4096 for each round
        base, found = ratios(runs)
        shape = f"N = {n:,}, d = {d:,}, C = {classes:,}"
        took = {"what": f"measuring features in memory, {shape}", "seconds": base * found["measure"], "goal": None}
        rows.append(took | {"instead": "reading them once and one product with a (d, C) matrix", "ratio": found["measure"]})
        if "textbook" in found:
            ratio = found["measure"] / found["textbook"]
            rows.append(took | {"instead": "float64 with d × d covariances and a pseudo-inverse", "ratio": ratio})
        cells = " ".join(f"{found[name]:10.1f}" if name in found else f"{'-':>10}" for name in names)
        print(
            f"{f'{n}, {d}, {classes}':>16} {1e3 * base:9.1f} {cells} {difference:11.1e} {extra_memory(f'{n},{d},{classes}'):9.0f}",
            flush=True,
        )
    data = features(10_000, 512, 10, spread=1e-5, offset=10)
    exact = textbook(*data)
    print("relative error at NC1 = 1e-10 on features of mean 10, against float64:")
    for name, function in {"ncbook": without_kmeans, "float32": float32, **(more or {})}.items():
        found = function(*data)
        print(f"  {name}: " + ", ".join(f"{m} {abs(found[m] / exact[m] - 1):.0e}" for m in ("variance_ratio", "nc1")))
    return rows


if __name__ == "__main__":
    main([tuple(map(int, shape.split(","))) for shape in sys.argv[1:]] or SHAPES)
