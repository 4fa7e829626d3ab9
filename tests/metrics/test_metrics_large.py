"""`measure` beyond memory and over processes: the same table as from all features at once."""

import subprocess
import sys
import textwrap
from functools import cache

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from two_processes import by_two_processes

from ncbook.errors import InputError
from ncbook.metrics import METRICS, measure
from ncbook.metrics.table import CLASS_METRICS


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.hidden, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(torch.relu(self.hidden(torch.relu(self.conv(x)).mean((2, 3)))))


def images(n, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randperm(n, generator=generator) % 3
    return torch.randn(n, 1, 6, 6, generator=generator) + labels[:, None, None, None], labels


TRAIN, TEST = images(150, 0), images(90, 1)


@cache
def trained():
    """A few steps, so that it predicts each class and errs."""
    net = Net()
    adam = torch.optim.Adam(net.parameters(), 0.03)
    for _ in range(40):
        adam.zero_grad()
        nn.functional.cross_entropy(net(TRAIN[0]), TRAIN[1]).backward()
        adam.step()
    return net


def loaders(*, batch=16):
    return [DataLoader(TensorDataset(*split), batch_size=batch) for split in (TRAIN, TEST)]


def close(found, wanted, columns, tolerance=1e-6):
    assert found.shape == wanted.shape and list(found.columns) == list(wanted.columns)
    for name in columns:
        assert found[name].to_numpy(float) == pytest.approx(wanted[name].to_numpy(float), rel=tolerance, abs=1e-12, nan_ok=True), name


@pytest.mark.parametrize("layer", [None, ["conv", "hidden"]])
@pytest.mark.parametrize("weighting", ["class", "sample"])
@pytest.mark.parametrize("memory", [0, 3000])  # from the start, and in the middle of the first pass
def test_streaming_equals_in_memory(layer, weighting, memory):
    options = {"layer": layer, "weighting": weighting, "vci": True, "common_n": 10}
    found = measure(trained(), *loaders(), memory=memory, **options)
    wanted = measure(trained(), *loaders(), **options)
    close(found, wanted, METRICS)
    of_the_head = [name for name in METRICS if name.endswith("classifier")] + ["nc3_self_duality"]
    assert set(METRICS) - set(wanted.columns[wanted.notna().all()]) == {"weak_kmeans", *(of_the_head if layer else [])}


def test_by_class():
    found = measure(trained(), *loaders(), memory=0, by_class=True)
    close(found, measure(trained(), *loaders(), by_class=True), ["n", *CLASS_METRICS])
    whole = measure(trained(), *loaders())
    for i, split in enumerate(("train", "test")):
        rows = found[found["split"] == split]
        for name in ("variance_ratio", "nc1"):  # each class has the same weight in V
            assert rows[name].mean() == pytest.approx(whole[name][i], rel=1e-6)
        assert (rows["error"] * rows["n"]).sum() / rows["n"].sum() == pytest.approx(whole["error"][i])


def test_what_cannot_be_read_twice():
    def generator():
        yield from loaders()[0]

    assert measure(trained(), generator())["n"].tolist() == [150]
    with pytest.raises(InputError, match="train: .*generator cannot be read twice"):
        measure(trained(), generator(), memory=3000)
    with pytest.raises(InputError, match="k-means needs all features"):
        measure(trained(), loaders()[0], memory=3000, kmeans=True)
    with pytest.raises(InputError, match="train, layer fc: .*second pass"):
        measure(trained(), Augmented(), memory=0)


class Augmented(Dataset):
    """New noise each time an image is read."""

    def __len__(self):
        return 150

    def __getitem__(self, i):
        return TRAIN[0][i] + torch.randn(1, 6, 6), TRAIN[1][i]


def test_progress(capsys):
    pytest.importorskip("tqdm", reason="tqdm is not installed")
    measure(trained(), loaders()[0], memory=0, progress=True)
    assert "second pass" in capsys.readouterr().err


@pytest.mark.slow
def test_features_that_do_not_fit_take_less_than_two_gigabytes():
    """100,000 features of 2,048 dimensions, 1,000 classes, made as they are read: held, they would be 0.8 GB more, over two in all.

    ImageNet's 1.28 million take no more: 1.45 GiB, and thirteen times as long.
    """
    program = textwrap.dedent("""
        import resource, torch
        from torch import nn
        from ncbook.metrics import measure

        torch.set_num_threads(1)
        means = torch.randn(1000, 2048, generator=torch.Generator().manual_seed(0))
        noise = 0.3 * torch.randn(4096, 2048, generator=torch.Generator().manual_seed(1))

        class Batches:
            def __iter__(self):
                for start in range(0, 100_000, 2000):
                    labels = torch.arange(start, start + 2000) % 1000
                    yield means[labels] + noise[start % 2048 : start % 2048 + 2000], labels

        head = nn.Linear(2048, 1000)
        head.weight.data, head.bias.data = means - means.mean(0), -means.square().sum(1) / 2
        row = measure(nn.Sequential(nn.Identity(), head), Batches()).iloc[0]
        assert row["n"] == 100_000 and 0.08 < row["variance_ratio"] < 0.1, row
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 2  # GiB; 0.5 GB of features were held before the data were read again


# --- two processes ------------------------------------------------------------------------------------------------------------------------


def _worker(rank, path, results, empty):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    cut = {"train": 150 if empty else 40, "test": 90 if empty else 70}  # uneven shards, or all of it in one process
    shards = []
    for name, (x, y) in {"train": TRAIN, "test": TEST}.items():
        part = slice(0, cut[name]) if rank == 0 else slice(cut[name], None)
        shards.append(list(zip(x[part].split(16), y[part].split(16), strict=True)) if len(y[part]) else [])
    table = measure(trained(), *shards, distributed=True, vci=True, common_n=10)
    results[rank] = table
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("empty", [False, True])
def test_two_processes(tmp_path, empty):
    found = by_two_processes(_worker, tmp_path, empty)
    wanted = measure(trained(), *loaders(), vci=True, common_n=10)
    for rank in (0, 1):
        common = ["variance_ratio_common", "nc1_common", "cdnv_common"]  # each process makes subsets of its own samples
        close(found[rank], wanted, [name for name in METRICS if name not in common])
        assert found[rank][common].notna().all().all()


def test_distributed_needs_a_group():
    with pytest.raises(InputError, match="init_process_group"):
        measure(trained(), loaders()[0], distributed=True)
