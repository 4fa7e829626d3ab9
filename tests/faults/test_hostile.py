"""Hostile input, one table an entry point: each ends in one clear sentence and an exit code that is not 0, and nothing is touched."""

import gzip
import json
import math
import os
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from checkouts import CHAPTERS, Checkout
from PIL import Image

from ncbook import cli
from ncbook.chapters.train_test_collapse.experiment import experiment, grid
from ncbook.data.datasets import load
from ncbook.errors import InputError
from ncbook.metrics import collapse_table
from ncbook.publish.parameters import parameters
from ncbook.runs import SweepError, sweep

CHAPTER = "train_test_collapse"
refused = Counter()  # by entry point


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Checkout:
    """A checkout with one chapter, for commands that are called in this process."""
    made = Checkout(tmp_path / "checkout", chapters=[CHAPTER])
    for name in ("PROFILE", "SEEDS", "FROM", "NCBOOK_DATA", "NCBOOK_RUNS", "NCBOOK_SESSION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in made.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(made.root)
    return made


@pytest.fixture
def typed(checkout, monkeypatch, capsys):
    """`typed("run", "-p", "x=1")`: what is said and the exit code, of a command that must change no file and show no traceback."""

    def call(*arguments: str) -> tuple[str, int]:
        before = checkout.contents()
        monkeypatch.setattr(sys, "argv", ["ncbook", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert checkout.contents() == before
        return re.sub(r"\x1b\[[0-9;]*m", "", out + err), ended.value.code

    return call


def one_sentence(said: str, code: int, message: str) -> None:
    assert code == 2, said
    assert message in said and said.startswith("ncbook: ") and said.count("\n") == 1, said


# --- parameters, on the command line ----------------------------------------------------------------------------------------------------

PARAMETERS = [
    ("bogus=1", "unknown parameter of train_test_collapse 'bogus'. Known: dataset, model, "),
    ("epoch=1", "unknown parameter of train_test_collapse 'epoch'; did you mean 'epochs'?"),
    ("epochs", "-p 'epochs': write it as -p name=value."),
    ("=3", "-p '=3': write it as -p name=value."),
    ("epochs=", "parameter epochs must be a whole number, like 300, not ''."),
    ("epochs=ten", "parameter epochs must be a whole number"),
    ("epochs=1.5", "parameter epochs must be a whole number"),
    ("epochs=true", "parameter epochs must be a whole number"),
    ("epochs=0", "parameter epochs must be a whole number of at least 1"),
    ("epochs=-3", "parameter epochs must be a whole number of at least 1"),
    ("epochs=__import__('os').getpid()", "parameter epochs must be a whole number"),
    ("epochs=" + "9" * 4000, "parameter epochs must be a whole number, like 300, and no larger than 1,000,000,000,000."),
    ("learning_rate_squared=" + "9" * 4000, "and no larger than 1,000,000,000,000."),
    ("epochs=" + "-" * 100_000 + "1", "parameter epochs has a value of 100,001 letters; 10,000 are the most."),
    ("epochs=" + "-" * 9000 + "1", "parameter epochs must be a whole number"),
    ("train_size=" + "[" * 9000, "parameter train_size must be a whole number"),
    ("seeds=100000", "the grid has 600,000 runs, and 10,000 are the most; give fewer seeds or fewer values."),
    ("seeds=1000000000000", "runs, and 10,000 are the most"),
    ("measurements=0", "parameter measurements must be a whole number of at least 1"),
    ("learning_rate_squared=fast", "parameter learning_rate_squared must be a number"),
    ("learning_rate_squared=1e999", "parameter learning_rate_squared must be a number of at least 0"),
    ("learning_rate_squared=nan", "parameter learning_rate_squared must be a number"),
    ("learning_rate_squared=-1", "parameter learning_rate_squared must be a number of at least 0"),
    ("weight_decay_squared=-1", "parameter weight_decay_squared must be a number of at least 0"),
    ("batch_size=0", "parameter batch_size must be a whole number of at least 1"),
    ("train_size=-10", "parameter train_size must be a whole number of at least 1"),
    ("train_size=100,0", "parameter train_size must be a whole number of at least 1"),
    ("train_size=100,100", "the grid has this run twice"),
    ("seeds=0", "parameter seeds must be a whole number of at least 1"),
    ("seeds=-1", "parameter seeds must be a whole number of at least 1"),
    ("dataset=mnsit", "unknown dataset 'mnsit'; did you mean 'mnist'? Known: "),
    ("dataset=", "unknown dataset ''"),
    ("dataset=../../etc/passwd", "unknown dataset '../../etc/passwd'"),
    ("dataset=digits,digits", "the grid has this run twice"),
    ("dataset=[]", "the grid of experiment is empty"),
    ("dataset=digits:x=1", "takes no options"),
    ("dataset=gaussian:classes=1", "classes must be at least 2"),
    ("dataset=folder:", "needs a path"),
    ("dataset=folder:/nowhere", "cannot read /nowhere/train"),
    ("dataset=mnist", "ncbook data fetch mnist"),
    ("loss=huber", "unknown loss 'huber'. Known: cross_entropy, squared"),
]


@pytest.mark.parametrize(("change", "message"), PARAMETERS, ids=lambda text: text[:40])
def test_parameters(typed, change, message):
    one_sentence(*typed("run", CHAPTER, "-p", change), message)
    refused["parameters"] += 1


def test_what_only_a_run_can_see(checkout):
    """It ends the run that has it, is said once with the run's parameters and without a traceback, and the other runs are kept."""
    wrong = [
        ("model", "vgg", "unknown model 'vgg'. Known: mlp, "),
        ("schedule", "linear", "unknown schedule 'linear'. Known: "),
        ("precision", "float16", "unknown precision 'float16'; did you mean 'bfloat16'?"),
        ("augment", "mixup", "unknown augmentation 'mixup'. Known: "),
        ("train_size", 101, "train_size=101 of digits: it must be a multiple of its 10 classes"),
        ("train_size", 10_000_000, "train_size=10000000 of digits: it must be"),
    ]
    good = grid(**{**parameters(CHAPTER), "loss": ["squared"], "train_size": [50], "epochs": 2, "measurements": 2, "seeds": 1})
    with pytest.raises(SweepError) as caught:
        sweep(experiment, good + [good[0] | {name: value} for name, value, _ in wrong], jobs=1)
    failures = {error: (run, log) for run, error, log in caught.value.failures}
    assert len(failures) == len(wrong)
    for name, value, message in wrong:
        (error,) = [e for e in failures if message in e]
        assert failures[error][0].parameters[name] == value and failures[error][1] == ""
        assert str(caught.value).count(error) == 1
        refused["parameters"] += 1
    assert len(sweep(experiment, good)) > 0


ARGUMENTS = [
    (("run", "train_tests"), "unknown chapter 'train_tests'; did you mean 'train_test_collapse'?"),
    (("run", "../train_test_collapse"), "unknown chapter '../train_test_collapse'"),
    (("run", "--profile", "lapto"), "unknown profile 'lapto'; did you mean 'laptop'?"),
    (("run", "--profile", "../../laptop"), "unknown profile '../../laptop'"),
    (("run", "--profile", ""), "unknown profile ''"),
    (("run", CHAPTER, "--seeds", "0"), "parameter seeds must be a whole number of at least 1"),
    (("run", "--seeds", "100000", "--dry-run"), "the grid has 600,000 runs, and 10,000 are the most"),
    (("run", "--device", "tpu"), "DEVICE='tpu': use cpu, cuda or auto."),
    (("run", "--jobs", "0"), "use a whole number from 1 to 1024."),
    (("run", "--from", "record"), "there is no record of train_test_collapse under the profile quick"),
    (("run", "--from", "records"), "FROM='records': the only other source is FROM=record."),
    (("run", "--from", "record", "-p", "epochs=9"), "a record holds the profile's own parameters"),
    (("run", "--from", "record", "--seeds", "3"), "a record holds the profile's own parameters"),
    (("book", "--from", "record"), "there is no record of train_test_collapse under the profile quick"),
    (("record",), "runs are not finished; a record holds complete grids only."),
    (("verify",), "no chapter has a record under the profile quick"),
    (("verify", CHAPTER), "there is no record of train_test_collapse under the profile quick"),
    (("publish",), "these chapters have no record: train_test_collapse; `make record` makes them."),
    (("train", "--budget", "soon"), "--budget 'soon': write a time such as 90s, 9m or 2h."),
    (("train", "--budget", "-3m"), "--budget '-3m': write a time such as 90s, 9m or 2h."),
    (("train", "--budget", "nan"), "--budget 'nan': write a time such as 90s, 9m or 2h."),
    (("runs", "import", "no/such/folder"), "no/such/folder is no folder"),
    (("data", "fetch", "mnsit"), "unknown dataset 'mnsit'; did you mean 'mnist'?"),
]


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_arguments(typed, arguments, message):
    one_sentence(*typed(*arguments), message)
    refused["arguments"] += 1


# --- the environment --------------------------------------------------------------------------------------------------------------------

ENVIRONMENT = [
    ("DEVICE", "tpu", "DEVICE='tpu': use cpu, cuda or auto."),
    ("DEVICE", "cuda", "DEVICE=cuda, but this PyTorch sees no CUDA device"),
    ("PROFILE", "huge", "unknown profile 'huge'"),
    ("PROFILE", "../laptop", "unknown profile '../laptop'"),
    ("JOBS", "-1", "JOBS=-1: use a whole number from 1 to 1024."),
    ("JOBS", "100000", "JOBS=100000: use a whole number from 1 to 1024."),
    ("FROM", "cache", "FROM='cache': the only other source is FROM=record."),
    ("NCBOOK_ROOT", "/nowhere", "NCBOOK_ROOT is '/nowhere', which is not a folder"),
    ("NCBOOK_ROOT", __file__, "which is not a folder"),
    ("NCBOOK_ROOT", "/", "/ is no checkout of the book; go to one, or set NCBOOK_ROOT to it."),
    ("NCBOOK_RUNS", __file__, "cannot write to "),
    ("NCBOOK_RUNS", "/proc/none", "cannot write to /proc/none"),
]


@pytest.mark.parametrize(("name", "value", "message"), ENVIRONMENT)
def test_environment(typed, monkeypatch, name, value, message):
    if value == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setenv(name, value)
    one_sentence(*typed("run", CHAPTER), message)
    refused["environment"] += 1


# --- data files ---------------------------------------------------------------------------------------------------------------------------


def pictures(top: Path) -> None:
    for split, label, i in [(s, c, i) for s in ("train", "test") for c in ("cats", "dogs") for i in range(3)]:
        (top / split / label).mkdir(parents=True, exist_ok=True)
        Image.effect_noise((16, 16), 50 + i).save(top / split / label / f"{i}.png")


def truncated(top: Path) -> str:
    path = top / "test" / "dogs" / "1.png"
    path.write_bytes(path.read_bytes()[:100])
    return f"{path} is not an image that can be read"


def no_image(top: Path) -> str:
    (top / "train" / "cats" / "0.png").write_text("<html>not found</html>")
    return "0.png is not an image that can be read"


def nothing_in_it(top: Path) -> str:
    (top / "train" / "cats" / "2.png").write_bytes(b"")
    return "2.png is not an image that can be read"


def another_size(top: Path) -> str:
    Image.effect_noise((16, 17), 50).save(top / "test" / "cats" / "0.png")
    return "all images must have one size"


def no_images_of_a_class(top: Path) -> str:
    for path in (top / "train" / "dogs").iterdir():
        path.unlink()
    return "train/dogs holds no image"


def one_class(top: Path) -> str:
    for split in ("train", "test"):
        (top / split / "dogs").rename(top / f"{split}-dogs")
    return "at least two classes"


def classes_that_differ(top: Path) -> str:
    (top / "test" / "dogs").rename(top / "test" / "wolves")
    return "same classes"


def no_test_images(top: Path) -> str:
    (top / "test").rename(top / "validation")
    return "cannot read "


def sixteen_bits(top: Path) -> str:
    Image.fromarray(np.full((16, 16), 40000, dtype=np.uint16)).save(top / "train" / "cats" / "0.png")
    return "save it with 8 bits"


@pytest.mark.parametrize(
    "harm",
    [truncated, no_image, nothing_in_it, another_size, no_images_of_a_class, one_class, classes_that_differ, no_test_images, sixteen_bits],
)  # fmt: skip
def test_a_folder_of_images(tmp_path, harm):
    pictures(tmp_path)
    load(f"folder:{tmp_path}")
    message = harm(tmp_path)
    with pytest.raises(InputError) as caught:
        load(f"folder:{tmp_path}")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    refused["data files"] += 1


# --- records ------------------------------------------------------------------------------------------------------------------------------


def provenance(**changes):
    def harm(record: Path) -> None:
        path = record / "provenance.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return harm


def text(content: str):
    def harm(record: Path) -> None:
        (record / "provenance.json").write_text(content)

    return harm


def table(name: str, content):
    def harm(record: Path) -> None:
        path = record / name
        path.write_bytes(content(path.read_bytes()))

    return harm


def altered(packed: bytes) -> bytes:
    """The last digit of a number, and the checksum of gzip set right."""
    lines = gzip.decompress(packed).decode().splitlines()
    place = max(i for i, letter in enumerate(lines[3]) if letter.isdigit())
    lines[3] = lines[3][:place] + str((int(lines[3][place]) + 1) % 10) + lines[3][place + 1 :]
    return gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0)


RECORDS = {
    "no JSON": text("{"),
    "empty": text(""),
    "a list": text("[]"),
    "nothing in it": text("{}"),
    "binary": table("provenance.json", lambda _: b"\xff\xfe\x00"),
    "more seconds": provenance(core_seconds=1.0),
    "another commit": provenance(commit="0" * 40),
    "a file outside": provenance(files={"../../../../../../etc/passwd": "0"}),
    "no files": provenance(files={}),
    "a table of text": provenance(tables="collapse"),
    "checksum of a number": provenance(sha256=3),
    "table cut off": table("collapse.csv.gz", lambda packed: packed[:-30]),
    "table empty": table("collapse.csv.gz", lambda _: b""),
    "table not packed": table("collapse.csv.gz", gzip.decompress),
    "one digit": table("collapse.csv.gz", altered),
    "a bomb": table("collapse.csv.gz", lambda _: gzip.compress(bytes(300_000_000), compresslevel=1)),
    "table gone": lambda record: (record / "collapse.csv.gz").unlink(),
    "runs gone": lambda record: (record / "runs.csv.gz").unlink(),
}


@pytest.mark.parametrize("harm", RECORDS.values(), ids=RECORDS)
def test_records(checkout, typed, harm):
    checkout.record("quick", CHAPTER)
    harm(checkout.root / "data" / "results" / "quick" / CHAPTER)
    said, code = typed("publish")
    assert code == 2 and "Restore it with git" in said and said.count("\n") == 1, said
    refused["records"] += 1


# --- notebooks, profiles and claims -------------------------------------------------------------------------------------------------------


def cell(source: str) -> dict:
    tags = {"tags": ["parameters"]}
    return {"cell_type": "code", "execution_count": None, "id": "p", "metadata": tags, "outputs": [], "source": source}


def notebook(*cells: dict) -> str:
    return json.dumps({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


NOTEBOOKS = {
    "no JSON": ("{", "is not a readable notebook"),
    "empty": ("", "is not a readable notebook"),
    "a list": ("[]", "is not a readable notebook"),
    "no cells": ("{}", "is not a readable notebook"),
    "cells of text": ('{"cells": "x"}', "is not a readable notebook"),
    "a cell without source": ('{"cells": [{"metadata": {"tags": ["parameters"]}}]}', "is not a readable notebook"),
    "no parameters": (notebook(), "has no cell tagged 'parameters'"),
    "a call": (notebook(cell("seeds = int('5')")), "the cell of parameters takes lines `name = value` only"),
    "an import": (notebook(cell("import os")), "the cell of parameters takes lines `name = value` only"),
    "no Python": (notebook(cell("seeds = = 5")), "the cell of parameters takes lines `name = value` only"),
    "nested 200,000 deep": ('{"cells":' + "[" * 200_000, "is not a readable notebook"),
    "two at once": (notebook(cell("a, b = 1, 2")), "the cell of parameters takes lines `name = value` only"),
}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks(checkout, typed, name):
    content, message = NOTEBOOKS[name]
    (checkout.root / "book" / "chapters" / f"{CHAPTER}.ipynb").write_text(content)
    one_sentence(*typed("run", CHAPTER), message)
    refused["notebooks"] += 1


PROFILES = {
    "no YAML": ("laptop: [", "is not readable YAML"),
    "a list": ("- 1", "must hold, for each profile, its parameters"),
    "a text": ("fast", "must hold, for each profile, its parameters"),
    "a number for a profile": ("laptop: 3", "must hold, for each profile, its parameters"),
    "a path as the name of a profile": ("../../laptop: {}", "a profile is called by small letters, digits and hyphens, not '../../laptop'"),
    "a number as the name of a profile": ("3: {}", "must hold, for each profile, its parameters"),
    "an unknown parameter": ("laptop: {epoch: 3}", "unknown parameter of train_test_collapse 'epoch'"),
    "another type": ("laptop: {epochs: 3.5}", "parameter epochs must be a whole number"),
    "an object of Python": ("laptop: {epochs: !!python/object/apply:os.getpid []}", "is not readable YAML"),
    "binary": ("\x00", "is not readable YAML"),
}


@pytest.mark.parametrize("name", PROFILES)
def test_profiles(checkout, typed, name):
    content, message = PROFILES[name]
    (checkout.root / CHAPTERS / CHAPTER / "profiles.yml").write_text(content)
    one_sentence(*typed("run", CHAPTER, "--profile", "laptop"), message)
    refused["profiles"] += 1


FILES = {
    "profiles.yml": (CHAPTERS / CHAPTER / "profiles.yml", "is not readable YAML: "),
    "claims.yml": (CHAPTERS / CHAPTER / "claims.yml", "is not readable YAML: "),
    "_toc.yml": (Path("book") / "_toc.yml", "is not readable YAML: "),
    "notebook": (Path("book") / "chapters" / f"{CHAPTER}.ipynb", "is not a readable notebook ("),
}


NO_TEXT = {
    "a folder": None,
    "Latin-1": "épochs: ü".encode("latin-1"),
    "UTF-16": b"\xff\xfe\x00a",
    "nested without end": b"[" * 100_000,
    "no date": b"2026-99-99",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", NO_TEXT)
def test_files_that_are_folders_or_no_text(checkout, typed, name, kind):
    (place, message), content = FILES[name], NO_TEXT[kind]
    (checkout.root / place).unlink()
    if content is None:
        (checkout.root / place).mkdir()
    else:
        (checkout.root / place).write_bytes(content)
    one_sentence(*typed("run", CHAPTER, "--profile", "laptop"), message)
    refused["files"] += 1


@pytest.mark.parametrize("name", ["profiles.yml", "claims.yml", "_toc.yml"])
def test_files_that_never_end(checkout, typed, name):
    place, message = FILES[name]
    (checkout.root / place).unlink()
    os.mkfifo(checkout.root / place)
    one_sentence(*typed("run", CHAPTER, "--profile", "laptop"), message + "it is no ordinary file")
    refused["files"] += 1


def test_a_lock_that_is_none(checkout, typed):
    (checkout.root / "data" / "runs" / ".lock").mkdir(parents=True)
    one_sentence(*typed("run", CHAPTER, "--profile", "laptop"), "/data/runs/.lock cannot be locked (Is a directory); remove it")
    refused["files"] += 1


def test_a_broken_file_of_one_chapter_stops_no_other(checkout, monkeypatch):
    (checkout.root / CHAPTERS / "another").mkdir()
    (checkout.root / CHAPTERS / "another" / "profiles.yml").write_text("laptop: [")
    assert parameters(CHAPTER, "laptop")["train_size"]
    assert parameters(CHAPTER, "quick")["train_size"]


# --- features given to the metrics --------------------------------------------------------------------------------------------------------

LABELS = torch.arange(12) % 3
FEATURES = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)) + 3 * LABELS[:, None]


def spoilt(value: float) -> torch.Tensor:
    features = FEATURES.clone()
    features[5, 2] = value
    return features


HOSTILE_FEATURES = {
    "NaN": (spoilt(math.nan), LABELS),
    "infinite": (spoilt(math.inf), LABELS),
    "overflowing": (spoilt(3e38), LABELS),
    "an empty class": (FEATURES, torch.where(LABELS == 1, 2, LABELS)),
    "one class": (FEATURES, torch.zeros_like(LABELS)),
    "one sample a class": (FEATURES[:3], LABELS[:3]),
    "no sample": (FEATURES[:0], LABELS[:0]),
    "no dimension": (FEATURES[:, :0], LABELS),
    "all the same": (torch.full((12, 4), 0.1), LABELS),
    "images": (FEATURES[:, :, None, None], LABELS),
    "a vector": (FEATURES[:, 0], LABELS),
    "complex": (FEATURES.to(torch.complex64), LABELS),
    "too few labels": (FEATURES, LABELS[:-1]),
    "negative labels": (FEATURES, LABELS - 1),
    "labels as fractions": (FEATURES, LABELS.float()),
    "one-hot labels": (FEATURES, torch.nn.functional.one_hot(LABELS)),
    "no labels": (FEATURES,),
}


@pytest.mark.parametrize("name", HOSTILE_FEATURES)
def test_features(name):
    with pytest.raises(InputError) as caught:
        collapse_table(HOSTILE_FEATURES[name])
    assert str(caught.value).strip() and "\n" not in str(caught.value)
    refused["features"] += 1


def test_the_count(told):
    """Last, when the whole file has run: every row of every table was refused."""
    if len(refused) < 8:
        pytest.skip("only a part of the tables was run")
    rows = (PARAMETERS, ARGUMENTS, ENVIRONMENT, RECORDS, NOTEBOOKS, PROFILES, HOSTILE_FEATURES)
    assert sum(refused.values()) >= sum(map(len, rows)) + 9  # folders of images
    told(f"hostile input refused in one sentence: {sum(refused.values())}, of which {dict(refused)}")
