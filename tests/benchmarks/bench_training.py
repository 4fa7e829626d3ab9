"""Time of the training loop over a bare one: ``python tests/benchmarks/bench_training.py``.

*Bare* is the least that any loop could do: normalised float images in memory, a shuffle by index, forward, backward, a fused SGD step, and
no question asked. *Ours* is `training.train`, which also normalises uint8 images batch by batch, keeps the loss, and asks after every epoch
whether the terminal phase has begun. *Usual* is what most scripts do: a ``DataLoader`` over the images one by one, and the training error
of the whole set after every epoch. All train the same network on one thread, in turns; the table gives the median of each one's time over
the bare loop's of the same round, so a busy machine disturbs all alike. Networks stay in the noise of early training: none gets to zero
error, so that *ours* asks after every epoch.
"""

from statistics import median
from time import perf_counter

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from ncbook.data.datasets import load
from ncbook.models.networks import build_model
from ncbook.seeds import child_generator
from ncbook.training.loop import train

# so many epochs that the one look before the first is not what is measured
CASES = [("digits", "mlp", 1000, 20), ("mnist5k", "mlp_wide", 1000, 10), ("mnist5k", "cnn", 500, 10), ("mnist5k", "resnet_small", 100, 10)]
ROUNDS = 5
BATCH = 50
SGD = {"lr": 1e-4, "momentum": 0.9, "weight_decay": 5e-4}


def bare(network, data, epochs):
    x, y = data.train.normalise(data.train.images), data.train.labels
    optimiser = torch.optim.SGD(network.parameters(), fused=True, **SGD)
    network.train()
    for _ in range(epochs):
        for here in torch.randperm(len(y)).split(BATCH):
            loss = cross_entropy(network(x[here]), y[here])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def ours(network, data, epochs):
    settings = {"learning_rate": SGD["lr"], "weight_decay": SGD["weight_decay"], "batch_size": BATCH, "schedule": "constant"}
    list(train(network, data, epochs=epochs, generator=child_generator(0, "batches"), measure_at=[epochs + 1], **settings))


def usual(network, data, epochs):
    images = TensorDataset(data.train.normalise(data.train.images), data.train.labels)
    optimiser = torch.optim.SGD(network.parameters(), **SGD)
    for _ in range(epochs):
        network.train()
        for x, y in DataLoader(images, batch_size=BATCH, shuffle=True):
            loss = cross_entropy(network(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        network.eval()
        with torch.no_grad():
            sum(int((network(x).argmax(1) != y).sum()) for x, y in DataLoader(images, batch_size=1024))


def main() -> list[dict]:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread; times over the bare loop's")
    rows = []
    print(f"{'':24}{'bare, us an image':>20}{'ours':>8}{'usual':>8}")
    for dataset, model, size, epochs in CASES:
        data = load(dataset, train_size=size, seed=0)
        times: dict = {bare: [], ours: [], usual: []}
        for _ in range(ROUNDS + 1):
            for loop, taken in times.items():
                network = build_model(model, data.image_shape, 10, generator=child_generator(0, "weights"))
                start = perf_counter()
                loop(network, data, epochs)
                taken.append(perf_counter() - start)
        bare_seconds = median(times[bare][1:])
        ratios = [median(t / b for t, b in zip(times[loop][1:], times[bare][1:], strict=True)) for loop in (ours, usual)]
        print(f"{dataset + ', ' + model:24}{bare_seconds / size / epochs * 1e6:20.1f}" + "".join(f"{r:8.2f}" for r in ratios))
        took = {"what": f"training, {model} on {dataset}", "seconds": ratios[0] * bare_seconds}
        rows.append(took | {"instead": "a bare loop over tensors in memory", "ratio": ratios[0], "goal": {"ratio": 1.05}})
        rows.append(took | {"instead": "a DataLoader, and the error after each epoch", "ratio": ratios[0] / ratios[1], "goal": None})
    return rows


if __name__ == "__main__":
    main()
