"""People's own images: ``folder:PATH``."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ncbook.data import datasets, sources
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


def test_every_file_that_is_left_out_is_counted_with_its_reason(folder):
    for stray in ("notes.txt", "train/list.csv", "train/cat/notes.txt", "train/cat/0.heic", "train/cat/.DS_Store", "train/.cache/x.png"):
        (folder / stray).parent.mkdir(exist_ok=True)
        (folder / stray).write_bytes(b"x")
    (folder / "test/dog/gone.png").symlink_to(folder / "nowhere.png")
    (folder / "train/dog/around").symlink_to(folder / "train")
    (folder / "train/dog/itself").symlink_to(folder / "train/dog")
    with pytest.warns(UserWarning, match="left out") as caught:
        assert len(load(f"folder:{folder}").train) == 6
    (said,) = {str(warning.message) for warning in caught}
    for reason in (
        "8 files are left out: ",
        "2 hidden (train/.cache, ...)",
        "1 in no class's folder (train/list.csv)",
        "2 not called .png, .jpg or another of 9 known endings (train/cat/0.heic, ...)",
        "2 a link to a folder around it (train/dog/around, ...)",
        "1 a link to nothing (test/dog/gone.png)",
    ):
        assert reason in said


def test_in_a_build_the_command_says_it_and_the_kernels_do_not(folder, tmp_path, monkeypatch, capsys):
    from ncbook.cli.data import data_check

    (folder / "train/cat/notes.txt").touch()
    data_check([f"folder:{folder}"])
    assert "1 file is left out: 1 not called" in capsys.readouterr().out
    (tmp_path / "session.json").write_text("{}")
    monkeypatch.setenv("NCBOOK_SESSION", str(tmp_path / "session.json"))
    load(f"folder:{folder}")  # where a warning is an error


def test_folders_in_folders_links_and_capital_endings(folder):
    write(folder / "train/cat/kittens/small/9.png", 13)
    (folder / "train/cat/kittens/small/9.png").rename(folder / "train/cat/kittens/small/9.PNG")
    (folder / "train/dog/link.png").symlink_to(folder / "train/dog/0.png")
    data = load(f"folder:{folder}")
    assert data.train.images[:, 0, 0, 0].tolist() == [10, 11, 12, 13, 100, 101, 102, 100]
    assert data.train.labels.tolist() == [0] * 4 + [1] * 4


HIDDEN = (200, 0, 0, 0)  # a red that no viewer shows


def transparent_rgba() -> Image.Image:
    return Image.new("RGBA", (6, 4), HIDDEN)


def transparent_palette() -> Image.Image:
    image = Image.new("P", (6, 4), 0)
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.info["transparency"] = 0
    return image


def transparent_colour() -> Image.Image:
    image = Image.new("RGB", (6, 4), HIDDEN[:3])
    image.info["transparency"] = HIDDEN[:3]
    return image


@pytest.mark.parametrize("image", [transparent_rgba, transparent_palette, transparent_colour])
def test_what_is_transparent_is_white(folder, image):
    image = image()
    image.save(folder / "train/cat/0.png", **{k: v for k, v in image.info.items() if k == "transparency"})
    assert load(f"folder:{folder}").train.images[0].unique().tolist() == [255]


def test_grey_with_transparency_stays_grey(folder):
    for file in folder.rglob("*.png"):
        Image.new("LA", (6, 4), (60, 255)).save(file)
    Image.new("LA", (6, 4), (60, 0)).save(folder / "train/cat/0.png")
    data = load(f"folder:{folder}")
    assert data.image_shape == (1, 4, 6) and data.train.images[:2, 0, 0, 0].tolist() == [255, 60]


def test_opaque_pixels_are_what_they_were(folder):
    noise = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    for image in (Image.fromarray(noise), Image.fromarray(noise).convert("RGBA")):
        image.save(folder / "train/cat/0.png")
        assert (load(f"folder:{folder}").train.images[0].permute(1, 2, 0).numpy() == noise).all()


def test_a_photograph_is_turned_as_its_camera_says(folder):
    upright = np.zeros((4, 6, 3), dtype=np.uint8)
    upright[0] = 250  # the sky
    sideways = Image.fromarray(np.rot90(upright).copy())  # 4 x 6, as the sensor saw it
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by a quarter clockwise
    sideways.save(folder / "train/cat/0.png", exif=exif)
    assert (load(f"folder:{folder}").train.images[0].permute(1, 2, 0).numpy() == upright).all()


def test_inks_and_palettes_are_read_as_colours(folder):
    for file in folder.rglob("*.png"):
        file.unlink()
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            Image.new("CMYK", (6, 4), (0, 255, 255, 0)).save(folder / split / label / "0.tif")
            Image.new("RGB", (6, 4), (255, 0, 0)).convert("P").save(folder / split / label / "1.bmp")
    assert {tuple(image[:, 0, 0].tolist()) for image in load(f"folder:{folder}").train.images} == {(255, 0, 0)}


@pytest.mark.filterwarnings("ignore:.*left out")
def test_a_class_of_unknown_files_says_what_they_are(folder):
    for file in (folder / "train/cat").iterdir():
        file.rename(file.with_suffix(".heic"))
    with pytest.raises(InputError, match=r"train/cat holds no image .*; 3 files are left out: 3 not called .*train/cat/0.heic"):
        load(f"folder:{folder}")


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


def program(folder):
    (folder / "train/dog/2.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n(made) (w) file\n")
    return "train/dog/2.png is not an image that can be read .cannot identify"


def well(folder):
    place = folder / "train/dog"
    for _ in range(60):
        place /= "a"
    place.mkdir(parents=True)
    return "train/dog/a/a.*: folders lie more than 50 deep in one another"


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


@pytest.mark.parametrize("damage", [truncate, text, program, well, empty_file, size, deep, empty_class, other_classes, one_class, no_test])
def test_what_is_wrong_is_named(folder, damage):
    message = damage(folder)
    with pytest.raises(InputError, match=message):
        load(f"folder:{folder}")


@pytest.fixture
def large(monkeypatch):
    """Every folder is too large for memory; the files that were decoded, in order."""
    for module in (sources, datasets):
        monkeypatch.setattr(module, "LARGE", 0)
    decoded, decode = [], sources._decode
    monkeypatch.setattr(sources, "_decode", lambda file: decoded.append(file.name) or decode(file))
    return decoded


def test_images_that_memory_does_not_hold_are_decoded_once_and_read_from_a_file(folder, tmp_path, monkeypatch, large):
    on_disk = load(f"folder:{folder}", root=tmp_path)
    assert len(large) == 11  # the first one twice, for its size
    part, drawn = (load(f"folder:{folder}", root=tmp_path, train_size=size) for size in (4, 6))  # six are all, in a random order
    assert len(large) == 13
    batches = [(x.clone(), y) for x, y in on_disk.train.batches(4, generator=torch.Generator().manual_seed(1))]
    monkeypatch.setattr(sources, "LARGE", 2**30)
    for mine, other in (
        (on_disk, load(f"folder:{folder}")),
        (part, load(f"folder:{folder}", train_size=4)),
        (drawn, load(f"folder:{folder}", train_size=6)),
    ):
        for split in ("train", "test"):
            assert torch.equal(getattr(mine, split).images, getattr(other, split).images)
            assert torch.equal(getattr(mine, split).labels, getattr(other, split).labels)
        assert torch.equal(mine.mean, other.mean) and torch.equal(mine.std, other.std)
    there = load(f"folder:{folder}").train.batches(4, generator=torch.Generator().manual_seed(1))
    for (x, y), (its, label) in zip(batches, there, strict=True):
        assert torch.equal(x, its) and torch.equal(y, label)


@pytest.mark.parametrize("what", ["an image", "the file, cut short"])
def test_what_changed_or_is_damaged_is_decoded_again(folder, tmp_path, large, what):
    load(f"folder:{folder}", root=tmp_path)
    (kept,) = (tmp_path / ".decoded").glob("*.npy")
    if what == "an image":
        write(folder / "train/cat/0.png", 77)
    else:
        kept.write_bytes(kept.read_bytes()[:-5])
    del large[:]
    data = load(f"folder:{folder}", root=tmp_path)
    assert len(large) == 11 and data.train.images[0, 0, 0, 0] == (77 if what == "an image" else 10)


def test_where_they_cannot_be_kept_it_says_so(folder, tmp_path, large):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / ".decoded").touch()
    with pytest.raises(InputError, match="the images take 0.0 GiB, and cannot be kept in .*; make room there, or set NCBOOK_DATA"):
        load(f"folder:{folder}", root=tmp_path / "root")


def test_they_take_no_memory_of_their_own(tmp_path, large):
    def anonymous() -> int:
        """Bytes that this process alone has, without what it reads from files."""
        lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
        return int(lines["RssAnon"].split()[0]) * 1024

    if not Path("/proc/self/status").exists():
        pytest.skip("memory is counted on Linux only")
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            for i in range(50):
                path = tmp_path / "big" / split / label / f"{i}.bmp"
                path.parent.mkdir(parents=True, exist_ok=True)
                if i:
                    path.hardlink_to(path.with_name("0.bmp"))
                else:
                    Image.fromarray(noise).save(path)
    load(f"folder:{tmp_path / 'big'}", root=tmp_path, train_size=2)  # what a first call takes
    before = anonymous()
    data = load(f"folder:{tmp_path / 'big'}", root=tmp_path)
    held = sum(split.images.numel() for split in (data.train, data.test))
    assert held == 200 * noise.size and anonymous() - before < held / 4
