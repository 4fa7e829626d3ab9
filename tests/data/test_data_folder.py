"""People's own images: ``folder:PATH``."""

import numpy as np
import pytest
import torch
from PIL import Image

from ncbook.data.datasets import load
from ncbook.data.files import check
from ncbook.errors import InputError


def write(path, value: int, *, size=(6, 4), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) + ((3,) if mode == "RGB" else ())
    Image.fromarray(np.full(shape, value, dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    for split, n in (("train", 3), ("test", 2)):
        for label, base in (("cat", 10), ("dog", 100)):
            for i in range(n):
                write(tmp_path / "pets" / split / label / f"{i}.png", base + i)
    return tmp_path / "pets"


def test_images_labels_and_names(folder):
    data = load(f"folder:{folder}")
    assert data.class_names == ("cat", "dog") and data.image_shape == (3, 4, 6) and data.bayes_error is None
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1] and data.test.labels.tolist() == [0, 0, 1, 1]
    assert data.train.images[:, 0, 0, 0].tolist() == [10, 11, 12, 100, 101, 102]
    assert len(load(f"folder:{folder}", train_size=4, label_noise=0.5).train) == 4
    assert len(check(f"folder:{folder}")) == 10


def test_a_relative_path_starts_from_the_data_root(folder):
    assert torch.equal(load("folder:pets", root=folder.parent).train.images, load(f"folder:{folder}").train.images)
    with pytest.raises(InputError, match="cannot read .*none/train .*a relative PATH starts from"):
        load("folder:none", root=folder.parent)


def test_grey_images_have_one_channel_and_a_mixture_has_three(folder):
    for file in folder.rglob("*.png"):
        write(file, 7, mode="L")
    assert load(f"folder:{folder}").image_shape == (1, 4, 6)
    write(folder / "train/cat/0.png", 7)
    assert load(f"folder:{folder}").image_shape == (3, 4, 6)


def test_other_files_and_hidden_ones_are_passed_over(folder):
    for stray in ("notes.txt", "train/list.csv", "train/cat/notes.txt", "train/cat/._0.png", "train/.cache/x.png"):
        (folder / stray).parent.mkdir(exist_ok=True)
        (folder / stray).write_bytes(b"x")
    assert len(load(f"folder:{folder}").train) == 6


def truncate(folder):
    file = folder / "train/cat/0.png"
    file.write_bytes(file.read_bytes()[:40])
    return f"{file} is not an image that can be read"


def text(folder):
    (folder / "test/dog/1.png").write_text("hello")
    return "test/dog/1.png is not an image that can be read"


def empty_file(folder):
    (folder / "train/dog/2.png").write_bytes(b"")
    return "train/dog/2.png is not an image that can be read"


def size(folder):
    write(folder / "test/dog/0.png", 1, size=(6, 5))
    return "test/dog/0.png is 6 x 5 pixels, .*train/cat/0.png 6 x 4: all images must have one size"


def deep(folder):
    Image.fromarray(np.full((4, 6), 40000, dtype=np.uint16)).save(folder / "train/cat/0.png")
    return "train/cat/0.png has pixels of type I;16; save it with 8 bits"


def empty_class(folder):
    for file in (folder / "train/dog").iterdir():
        file.unlink()
    return "train/dog holds no image"


def other_classes(folder):
    (folder / "test/dog").rename(folder / "test/fox")
    return "same classes; only one of them holds 'dog', 'fox'"


def one_class(folder):
    (folder / "train/dog").rename(folder / "x")
    (folder / "test/dog").rename(folder / "y")
    return "at least two classes"


def no_test(folder):
    (folder / "test").rename(folder / "validation")
    return "cannot read .*pets/test .*PATH/train/<class>/ and PATH/test/<class>/"


@pytest.mark.parametrize("damage", [truncate, text, empty_file, size, deep, empty_class, other_classes, one_class, no_test])
def test_what_is_wrong_is_named(folder, damage):
    message = damage(folder)
    with pytest.raises(InputError, match=message):
        load(f"folder:{folder}")
