"""`fetch` with torchvision's downloader faked: success, damage, no network, no permission, a kill half-way."""

import shutil
import socket
from pathlib import Path

import pytest

from ncbook.data import download
from ncbook.data.datasets import load
from ncbook.data.download import fetch
from ncbook.data.files import check
from ncbook.data.presets import spec
from ncbook.errors import InputError
from ncbook.torchvision_compat import torchvision


@pytest.fixture
def fake(monkeypatch):
    """`fake("MNIST", source, spoil)` makes torchvision's class copy `source` instead of downloading; gives the list of calls."""

    def install(name: str, source: Path, spoil=lambda aside: None) -> list:
        calls = []

        def downloader(aside, train, download):
            assert download and socket.getdefaulttimeout() == 60
            calls.append(Path(aside))
            shutil.copytree(source, aside, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".fetch*", "target"))
            spoil(Path(aside))

        monkeypatch.setattr(torchvision.datasets, name, downloader)
        return calls

    return install


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100"])
def test_a_download_is_put_in_place_once(small, tmp_path, fake, name):
    target = tmp_path / "target" / "new"
    calls = fake(spec(name).torchvision, small)
    assert fetch(name, target) == check(name, target) == [target / f.path for f in spec(name).files]
    assert fetch(name, target) == [] and len(calls) == 1
    assert calls[0].parent == target and not list(target.glob(".fetch-*"))
    assert socket.getdefaulttimeout() is None
    assert len(load(name, root=target, download=True).test) in (10, 100)


def test_a_damaged_file_is_replaced_and_load_fetches_only_when_asked(small, tmp_path, fake):
    target = tmp_path / "target"
    calls = fake("MNIST", small)
    with pytest.raises(InputError, match="ncbook data fetch mnist"):
        load("mnist", root=target)
    assert not calls
    load("mnist", root=target, download=True)
    (target / "MNIST/raw/t10k-labels-idx1-ubyte").write_bytes(b"x")
    fetch("mnist", target)
    assert len(calls) == 2 and check("mnist", target)


def test_a_damaged_download_is_discarded(small, tmp_path, fake):
    target = tmp_path / "target"
    fake("MNIST", small, lambda aside: (aside / "MNIST/raw/train-labels-idx1-ubyte").write_bytes(b"half"))
    with pytest.raises(InputError, match="what was downloaded for mnist is not what was published.*train-labels-idx1-ubyte is damaged"):
        fetch("mnist", target)
    assert [p.name for p in target.iterdir()] in ([], [".fetch.lock"])


@pytest.mark.parametrize("error", [RuntimeError("Error downloading x.gz:\nTried a, got:\n<error>"), OSError("no route"), EOFError()])
def test_no_network_is_one_sentence(small, tmp_path, fake, error):
    def fail(aside):
        raise error

    fake("MNIST", small, fail)
    with pytest.raises(InputError, match="cannot download mnist: .*Connect to the internet, or copy MNIST/ from a machine") as caught:
        fetch("mnist", tmp_path / "target")
    assert "\n" not in str(caught.value) and not list((tmp_path / "target").glob(".fetch-*"))
    assert socket.getdefaulttimeout() is None


def test_what_a_killed_download_left_is_never_read_and_removed_by_the_next(small, tmp_path, fake):
    target = tmp_path / "target"
    left = target / ".fetch-killed" / "MNIST" / "raw"
    left.mkdir(parents=True)
    (left / "train-images-idx3-ubyte").write_bytes(b"half")
    with pytest.raises(InputError, match="is missing"):
        load("mnist", root=target)
    fake("MNIST", small)
    fetch("mnist", target)
    assert not left.exists() and check("mnist", target)


def test_a_set_that_another_process_fetched_meanwhile_is_not_fetched_again(small, tmp_path, fake, monkeypatch):
    target = tmp_path / "target"
    calls = fake("MNIST", small)
    answers = iter([False, True])
    monkeypatch.setattr(download, "_is_whole", lambda *_: next(answers))
    assert fetch("mnist", target) == [] and not calls


def test_a_folder_that_cannot_be_written_is_named(small, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot write mnist to .*file/below .*NCBOOK_DATA"):
        fetch("mnist", tmp_path / "file" / "below")


def test_what_needs_no_download():
    assert fetch("digits") == fetch("mnist5k") == fetch("gaussian") == []
    with pytest.raises(InputError, match="put images under"):
        fetch("folder:x")
    with pytest.raises(InputError, match="unknown dataset"):
        fetch("imagenet")


def test_real_files_pass_the_same_way(real, tmp_path, fake):
    source = real("mnist")
    fake("MNIST", source / "MNIST", lambda aside: shutil.copytree(source / "MNIST", aside / "MNIST"))
    assert len(fetch("mnist", tmp_path / "target")) == 4
