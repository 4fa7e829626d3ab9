"""Collapse of many layers from batches: the same numbers as from all features at once, and the memory that the docstring states."""

import subprocess
import sys
import textwrap

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ncbook.errors import InputError
from ncbook.metrics.layers import LAYER_METRICS, layer_table
from ncbook.metrics.table import collapse_table


def data(seed, n=120, classes=4, d=9):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randperm(n, generator=generator) % classes
    means = 2 * torch.randn(classes, d, generator=torch.Generator().manual_seed(99))
    return 5 + means[labels] + torch.randn(n, d, generator=generator), labels


def layers(x):
    """Three layers: as they are, in fewer dimensions than classes, and far narrower in spread."""
    return {"wide": x, ("a", 1): x[:, :2].relu(), "tight": 7 + x.round() + 1e-4 * x}


def batches(split, size):
    return lambda: zip(split[0].split(size), split[1].split(size), strict=True)


@pytest.mark.parametrize("size", [1, 17, 120])
def test_it_agrees_with_all_features_at_once_whatever_the_batches(size):
    train, test = data(0), data(1, n=90)
    table = layer_table(layers, batches(train, size), batches(test, size), num_classes=4)
    assert len(table) == 6 and list(table.columns) == ["layer", "split", "n", "width", *LAYER_METRICS]
    for name in layers(train[0]):
        wanted = collapse_table((layers(train[0])[name], train[1]), (layers(test[0])[name], test[1])).set_index("split")
        found = table[table.layer == name].set_index("split")
        assert found.width.tolist() == [layers(train[0])[name].shape[1]] * 2
        for metric in ("n", *LAYER_METRICS):
            assert found[metric].tolist() == pytest.approx(wanted[metric].tolist(), rel=1e-6, abs=1e-12), (name, metric)


def test_the_test_split_is_optional_and_nothing_needs_gradients():
    x, y = data(0)
    table = layer_table(lambda x: {"h": x.requires_grad_()}, batches((x, y), 50), num_classes=4)
    assert table[["layer", "split", "n"]].values.tolist() == [["h", "train", 120]]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x, y: layer_table(lambda x: {"h": x / 0}, batches((x, y), 50), num_classes=4), "layer h: .*NaN"),
        (lambda x, y: layer_table(lambda x: {"h": 0 * x}, batches((x, y), 50), num_classes=4), "layer h: .*coincide"),
        (lambda x, y: layer_table(lambda x: {"h": x}, batches((x, y), 50), num_classes=5), "layer h: no samples of class 4"),
        (lambda x, y: layer_table(lambda x: {"h": x}, batches((x, y), 50), num_classes=3), "layer h: labels must be in 0..2"),
        (lambda x, y: layer_table(lambda x: {"h": x[:, :, None]}, batches((x, y), 50), num_classes=4), "layer h: .*flatten"),
        (lambda x, y: layer_table(lambda x: {"h": x}, batches((x[:4], torch.arange(4)), 50), num_classes=4), "layer h: .*2 samples"),
        (lambda x, y: layer_table(lambda x: {}, batches((x, y), 50), num_classes=4), "no layers"),
        (lambda x, y: layer_table(lambda x: {"h": x}, lambda: iter([]), num_classes=4), "no batches"),
    ],
)
def test_what_has_no_meaning_is_refused_by_the_layers_name(call, says):
    with pytest.raises(InputError, match=says):
        call(*data(0))


class Largest(TorchDispatchMode):
    """The largest tensor that any operation gives, in bytes."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.bytes = max(self.bytes, tensor.numel() * tensor.element_size())
        return out


def feature_maps(width=64, side=32, batch=50, samples=200, classes=10):
    """Maps of 64 x 32 x 32 made a batch at a time, the same at each pass."""

    def passes():
        generator = torch.Generator().manual_seed(0)
        for start in range(0, samples, batch):
            y = torch.arange(start, start + batch) % classes
            yield torch.randn(batch, width, side, side, generator=generator) + 0.1 * y[:, None, None, None], y

    return passes


def test_no_tensor_is_larger_than_a_batch_or_the_class_means():
    """d = 65,536: neither d x d (17 GB) nor N x d (52 MB here) is ever there."""
    with Largest() as largest:
        table = layer_table(lambda x: {"maps": x.flatten(1)}, feature_maps(), num_classes=10)
    assert table.width.tolist() == [65536]
    assert largest.bytes <= 4 * 50 * 65536 + 8 * 10 * 65536  # a batch of features, or a little over
    assert largest.bytes < 4 * 200 * 65536 / 2


@pytest.mark.slow
def test_peak_memory_stays_within_the_stated_bound_however_many_images():
    """The peak of the whole process, in one of its own: 1,000 images of 65,536 features are 262 MB, the bound is 79 MB."""
    program = textwrap.dedent("""
        import resource, sys
        sys.path.insert(0, "tests/metrics")
        import torch
        torch.set_num_threads(1)
        from test_metrics_layers import feature_maps
        from ncbook.metrics.layers import layer_table

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

        layer_table(lambda x: {"h": x.flatten(1)[:, :64]}, feature_maps(samples=100), num_classes=10)  # libraries, and one batch of images
        before = peak()
        layer_table(lambda x: {"maps": x.flatten(1)}, feature_maps(samples=1000), num_classes=10)
        print(peak() - before)
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= 8 * 50 * 65536 + 80 * 10 * 65536
