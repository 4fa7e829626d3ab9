"""Time of ten networks trained as one stack over that of ten trained one after another: ``python tests/benchmarks/bench_stack.py``."""

from statistics import median
from time import perf_counter

import torch

from ncbook.data.datasets import load
from ncbook.models.fixed_classifier import FixedClassifiers
from ncbook.seeds import child_generator
from ncbook.theory.codes import simplex
from ncbook.training.together import train_together

CASES = {"MLP on digits": ("digits", "mlp:128-128", 1000, 4), "CNN on MNIST": ("mnist5k", "cnn", 300, 2)}
COUNT, ROUNDS, GOAL = 10, 3, {"MLP on digits": 1 / 3, "CNN on MNIST": 1 / 1.3}


def trained(body: str, data, count: int, epochs: int) -> float:
    """Seconds of training `count` networks at once."""
    frames = torch.tensor(simplex(10)).float().expand(count, -1, -1).clone()
    networks = FixedClassifiers(body, data.image_shape, frames, generator=child_generator(0, "weights"))
    settings = {"epochs": epochs, "learning_rate": 1e-3, "weight_decay": 5e-4, "batch_size": 50}
    start = perf_counter()
    train_together(networks, [data.train], generators=[child_generator(0, "batches")], **settings)
    return perf_counter() - start


def main() -> list[dict]:
    torch.set_num_threads(1)
    rows = []
    for name, (dataset, body, size, epochs) in CASES.items():
        data = load(dataset, train_size=size, seed=0)
        pairs = [
            (trained(body, data, COUNT, epochs), sum(trained(body, data, 1, epochs) for _ in range(COUNT))) for _ in range(ROUNDS + 1)
        ][1:]
        ratio = median(at_once / alone for at_once, alone in pairs)
        what, instead = f"{COUNT} networks as one stack, {name}", "one after another"
        rows.append(
            {"what": what, "instead": instead, "ratio": ratio, "seconds": median(a for a, _ in pairs), "goal": {"ratio": GOAL[name]}}
        )
        print(f"{what}: {ratio:.2f} of the time of {instead}", flush=True)
    return rows


if __name__ == "__main__":
    main()
