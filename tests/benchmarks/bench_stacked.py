"""Time of ten networks trained one after another over that of the ten as a stack: ``python tests/benchmarks/bench_stacked.py``.

Both train with `training.train`, on one thread, in turns; times are those of the processor. The table gives, of all rounds, the least time
of each, which a busy machine disturbs least, in microseconds a network and step, and their ratio; and the middle one of the ratios of each
round, which the page of costs shows. Networks are at the shapes of the chapters' quick runs; none is measured, but each is asked after
every epoch whether it interpolates.
"""

from functools import partial
from statistics import median
from time import process_time

import torch

from ncbook.data.datasets import load
from ncbook.models.linear_heads import linear_headed
from ncbook.models.networks import build_model
from ncbook.seeds import child_generator
from ncbook.training.loop import train
from ncbook.training.stacked import in_lock_step

headed = partial(linear_headed, linear_layers=2, nonlinear_layers=3, width=64)
# data set, network, images, batch, epochs
CASES = {
    "one step an epoch": ("digits", "mlp", 100, 100, 40, headed),
    "batch norm": ("digits", "mlp", 200, 100, 20, build_model),
    "deep": ("digits", "mlp_deep", 200, 50, 10, build_model),
    "deep, small batches": ("digits", "mlp_deep", 200, 25, 6, build_model),
    "MNIST's images": ("mnist5k", "mlp_plain", 500, 100, 4, build_model),
    "four times as wide": ("mnist5k", "mlp_wide", 200, 50, 1, build_model),
    "convolutions": ("digits", "cnn", 200, 50, 4, build_model),
    "six of them": ("digits", "cnn_deep", 200, 50, 3, build_model),
    "on MNIST's images": ("mnist5k", "two_layer", 300, 25, 1, build_model),
}
COUNT, ROUNDS = 10, 6
SGD = {"learning_rate": 1e-3, "weight_decay": 5e-4, "schedule": "cosine"}


def one(network, data, seed: int, batch_size: int, epochs: int) -> None:
    settings = {"batch_size": batch_size, "epochs": epochs, "measure_at": [epochs + 1]}
    for _ in train(network, data, generator=child_generator(seed, "batches"), **settings, **SGD):
        pass


def alone(calls: list) -> None:
    for call in calls:
        call()


def main() -> list[dict]:
    torch.set_num_threads(1)
    rows = []
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread; us a network and step, {COUNT} networks")
    print(f"{'':56}{'alone':>8}{'stack':>8}{'ratio':>8}{'middle':>8}")
    for name, (dataset, model, size, batch, epochs, build) in CASES.items():
        sets = [load(dataset, train_size=size, seed=seed) for seed in range(COUNT)]
        times: dict = {alone: [], in_lock_step: []}
        for _ in range(ROUNDS + 1):  # the first one warms up
            for how, taken in times.items():
                networks = [build(model, d.image_shape, 10, generator=child_generator(k, "weights")) for k, d in enumerate(sets)]
                calls = [partial(one, n, d, k, batch, epochs) for k, (n, d) in enumerate(zip(networks, sets, strict=True))]
                start = process_time()
                how(calls)
                taken.append(process_time() - start)
        steps = COUNT * epochs * -(-size // batch)
        least = [min(taken[1:]) / steps * 1e6 for taken in times.values()]
        middle = median(a / b for a, b in zip(times[alone][1:], times[in_lock_step][1:], strict=True))
        named = f"{name}: {dataset}, {model}, {size} images by {batch}"
        what = f"{COUNT} networks as one stack, {named}"
        goal = {"ratio": 1 / (3 if model.startswith("mlp") else 1.3)}
        rows.append(
            {"what": what, "instead": "one after another", "ratio": 1 / middle, "seconds": min(times[in_lock_step][1:]), "goal": goal}
        )
        print(f"{named:56}{least[0]:8.0f}{least[1]:8.0f}{least[0] / least[1]:8.2f}{middle:8.2f}")
    return rows


if __name__ == "__main__":
    main()
