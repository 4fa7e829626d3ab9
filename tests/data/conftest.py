"""Small sets in the formats of the real ones, and the real ones where NCBOOK_DATA has them."""

import hashlib
import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ncbook.data import presets
from ncbook.data.files import check
from ncbook.data.presets import PRESETS, DataFile
from ncbook.errors import InputError


@pytest.fixture
def real(monkeypatch):
    """`real("mnist")` is the data root that holds the whole set; the test is skipped where there is none."""

    def root(name: str) -> Path:
        given = os.environ.get("NCBOOK_DATA")
        if not given:
            pytest.skip("set NCBOOK_DATA to a folder with the torchvision sets to run the checks on real files")
        try:
            check(name, given)
        except InputError as error:
            pytest.skip(f"NCBOOK_DATA does not hold {name}: {error}")
        return Path(given)

    return root


class OldPickle:
    """Writes dictionaries, lists, numbers, texts and uint8 arrays as Python 2 and NumPy 1 did, which today's `pickle` cannot."""

    def dump(self, value) -> bytes:
        return b"\x80\x02" + self.write(value) + b"."

    def write(self, value) -> bytes:
        if isinstance(value, dict):
            return b"}(" + b"".join(self.write(k) + self.write(v) for k, v in value.items()) + b"u"
        if isinstance(value, list):
            return b"](" + b"".join(map(self.write, value)) + b"e"
        if isinstance(value, int):
            return b"J" + struct.pack("<i", value)
        if isinstance(value, str):
            return b"T" + struct.pack("<i", len(value)) + value.encode()
        raw = value.tobytes()
        shape = b"(" + b"".join(map(self.write, value.shape)) + b"t"
        dtype = b"cnumpy\ndtype\n(" + self.write("u1") + self.write(0) + self.write(1) + b"tR"
        dtype += b"(" + self.write(3) + self.write("|") + b"NNN" + self.write(-1) + self.write(-1) + self.write(0) + b"tb"
        empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + self.write(0) + b"t" + self.write("b") + b"tR"
        return empty + b"(" + self.write(1) + shape + dtype + b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"


def small_files() -> dict[str, dict[str, bytes]]:
    """{set: {path: content}}: 20 train and 10 test images of MNIST and CIFAR-10, 200 and 100 of CIFAR-100, random but for their labels."""
    rng = np.random.default_rng(0)
    pixels = lambda n, *shape: rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    labels = lambda n, classes: (np.arange(n) % classes).tolist()
    idx = {}
    for part, n in (("train", 20), ("t10k", 10)):
        idx[f"MNIST/raw/{part}-images-idx3-ubyte"] = struct.pack(">4i", 2051, n, 28, 28) + pixels(n, 28, 28).tobytes()
        idx[f"MNIST/raw/{part}-labels-idx1-ubyte"] = struct.pack(">2i", 2049, n) + bytes(labels(n, 10))
    ten = {
        **{f"data_batch_{i}": {"data": pixels(4, 3072), "labels": [(4 * i - 4 + j) % 10 for j in range(4)]} for i in range(1, 6)},
        "test_batch": {"data": pixels(10, 3072), "labels": labels(10, 10)},
        "batches.meta": {"label_names": list(PRESETS["cifar10"].class_names)},
    }
    hundred = {
        part: {"data": pixels(n, 3072), "fine_labels": labels(n, 100), "coarse_labels": [f % 20 for f in labels(n, 100)]}
        for part, n in (("train", 200), ("test", 100))
    }
    hundred["meta"] = {"fine_label_names": [f"fine {i}" for i in range(100)], "coarse_label_names": [f"coarse {i}" for i in range(20)]}
    return {
        "mnist": idx,
        "cifar10": {f"cifar-10-batches-py/{n}": OldPickle().dump(v) for n, v in ten.items()},
        "cifar100": {f"cifar-100-python/{n}": OldPickle().dump(v) for n, v in hundred.items()},
    }


def enter(monkeypatch, name: str, files: dict[str, bytes]) -> None:
    """Put these files' sizes and checksums into the table of presets, in the place of the published ones."""
    entries = tuple(DataFile(p, len(c), hashlib.md5(c).hexdigest()) for p, c in files.items())
    monkeypatch.setattr(presets, "PRESETS", {**presets.PRESETS, name: replace(presets.PRESETS[name], files=entries)})


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A data root with a small MNIST, CIFAR-10 and CIFAR-100, which the presets take for the published ones."""
    for name, files in small_files().items():
        for path, content in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(content)
        enter(monkeypatch, name, files)
    monkeypatch.setenv("NCBOOK_DATA", str(tmp_path))
    return tmp_path
