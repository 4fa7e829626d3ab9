"""Letters and digits from fonts: which classes there are, what is drawn, and that nothing else can be."""

import unicodedata

import numpy as np
import pytest
import torch

from ncbook.data import fingerprint, glyphs, load, spec
from ncbook.data.presets import MOST_GLYPHS, PRESETS
from ncbook.errors import InputError


def test_classes_are_distinct_letters_and_digits_that_every_face_has():
    characters = glyphs.characters()
    assert len(characters) == MOST_GLYPHS == len(set(characters))
    assert all(unicodedata.category(c) in ("Lu", "Ll", "Lo", "Nd") for c in characters)
    assert set("Aa0Zz9") <= set(glyphs.names(62)) and "А" not in characters  # the Cyrillic letter is the Latin one
    for face in glyphs.FACES:
        outlines = {glyphs._outline(face, c).vertices.tobytes() for c in characters[:300]}
        assert len(outlines) == 300, face


def test_images_are_ink_on_nothing_and_stay_within_the_frame():
    images, labels = glyphs.draw(200, per_class=3, seed=0, split="train")
    assert images.shape == (600, 1, 16, 16) and images.dtype == torch.uint8
    assert labels.tolist() == list(range(200)) * 3
    ink = images.double().mean(dim=(1, 2, 3)) / 255
    assert (ink > 0.01).all() and (ink < 0.6).all()
    edge = torch.cat([images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]], dim=-1)
    assert (edge.double().mean() / 255).item() < 0.02


def test_a_ring_has_a_hole_and_a_bar_has_none():
    """Filled area against the outline's own, by the shoelace formula: a hole counts against."""
    still = np.full(7, 0.5)
    still[0] = 0.0  # the first face, neither turned nor moved
    for character in "OIB8":
        contours = glyphs._contours(glyphs.FACES[0], character)
        areas = [0.5 * np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) for x, y in ((c.vertices[:, 0], c.vertices[:, 1]) for c in contours)]
        assert glyphs._image(character, still).mean() / 255 == pytest.approx(abs(sum(areas)), abs=0.006)
    assert glyphs._image("O", still)[6:8, 7:9].max() == 0 and glyphs._image("I", still)[6:8, 7:9].max() == 255


def test_an_upright_letter_stands_the_right_way():
    still = np.full(7, 0.5)
    still[0] = 0.0
    image = glyphs._image("L", still).astype(float)
    rows, columns = image.sum(axis=1), image.sum(axis=0)
    assert rows[9:].sum() > rows[:7].sum() and columns[:8].sum() > columns[8:].sum()  # its foot is below, its stem at the left


def test_draws_are_the_seeds_own_and_nested():
    few, many = (load("glyphs:classes=10", train_size=n, test_size=10, seed=4).train for n in (20, 700))
    assert torch.equal(few.images, many.images[:20])
    other = load("glyphs:classes=10", train_size=20, test_size=20, seed=5)
    assert not torch.equal(few.images, other.train.images) and not torch.equal(other.train.images, other.test.images)
    assert torch.equal(glyphs.draw(5, per_class=4, seed=1, split="test")[0], glyphs.draw(5, per_class=4, seed=1, split="test")[0])


def test_what_is_drawn_cannot_be_changed_for_the_next():
    images, _ = glyphs.draw(3, per_class=2, seed=9, split="train")
    images.zero_()
    assert glyphs.draw(3, per_class=2, seed=9, split="train")[0].any()


def test_turns_and_faces_differ_within_a_class():
    images, _ = glyphs.draw(1, per_class=30, seed=0, split="train")
    assert len({image.numpy().tobytes() for image in images}) == 30


def test_the_set_is_known_by_its_name_and_its_fonts(monkeypatch, tmp_path):
    assert spec("glyphs:classes=62").num_classes == spec("glyphs").num_classes == 62
    assert fingerprint("glyphs:classes=62") == fingerprint("glyphs") != fingerprint("glyphs:classes=63")
    assert load("glyphs:classes=30", train_size=30, test_size=30).class_names[-1] == "3"
    assert load("glyphs:classes=30", train_size=30, test_size=30).bayes_error is None
    other = tmp_path / "other.ttf"
    other.write_bytes(b"no font")
    monkeypatch.setattr("ncbook.data.files.locate", lambda *_: other)
    glyphs._font.cache_clear()
    with pytest.raises(InputError, match=r"other\.ttf is damaged.*reinstall matplotlib"):
        glyphs._font(glyphs.FACES[0])
    monkeypatch.undo()
    glyphs._font.cache_clear()
    assert len(PRESETS["glyphs"].files) == len(glyphs.FACES) == 12


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("glyphs:classes=1", {}, "at least 2"),
        ("glyphs:classes=1001", {}, "1000 classes at most"),
        ("glyphs:class=3", {}, "did you mean 'classes'"),
        ("glyphs:classes=3.5", {}, "whole number"),
        ("glyphs:classes=3,classes=4", {}, "twice"),
        ("glyphs", {"coarse": True}, "no coarse classes"),
        ("glyphs", {"train_size": 100}, "use 62 or 124"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(name, options, message):
    with pytest.raises(InputError, match=message) as error:
        load(name, **options)
    assert len(str(error.value).splitlines()) == 1
