"""Parameters: what a notebook declares, what a profile sets, what the command line changes, and everything that can be wrong with them."""

import re

import pytest

from ncbook import chapters
from ncbook.errors import InputError

DECLARED = {
    "names": ["digits", "mnist"],
    "sizes": [100, 300],
    "rates": [0.1],
    "flags": [True, False],
    "epochs": 100,
    "rate": 0.1,
    "equal": "steps",
    "augment": None,
    "fast": False,
}


@pytest.fixture
def toy(here):
    here.chapter("toy", title="What *toys* do", **DECLARED)
    return here


def given(**changes) -> dict:
    return {name: chapters.parameters("toy", "quick", changes)[name] for name in changes}


def test_defaults_are_the_notebooks(toy):
    assert chapters.defaults("toy") == chapters.parameters("toy") == DECLARED
    assert chapters.title("toy") == "What *toys* do"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("epochs", "7", 7),
        ("rate", "1e-3", 0.001),
        ("rate", "2", 2.0),
        ("equal", "epochs", "epochs"),
        ("equal", "5", "5"),  # a text stays a text
        ("fast", "true", True),
        ("fast", "False", False),
        ("augment", "crop_flip", "crop_flip"),
        ("augment", "null", None),
        ("augment", "None", None),
        ("augment", "3", 3),
        ("names", "digits", ["digits"]),
        ("names", "digits,mnist", ["digits", "mnist"]),
        ("names", "digits, mnist", ["digits", "mnist"]),
        ("names", "[digits, mnist]", ["digits", "mnist"]),
        ("names", "['digits', \"mnist\"]", ["digits", "mnist"]),
        ("names", "folder:/some/where", ["folder:/some/where"]),
        ("sizes", "100", [100]),
        ("sizes", "100,300", [100, 300]),
        ("sizes", "[100, 300]", [100, 300]),
        ("rates", "1,0.5", [1.0, 0.5]),
        ("flags", "true,false", [True, False]),
    ],
)
def test_a_text_of_the_command_line_becomes_the_declared_type(toy, name, text, value):
    found = given(**{name: text})[name]
    assert found == value
    assert type(found) is type(value)
    if isinstance(value, list):
        assert [type(v) for v in found] == [type(v) for v in value]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", "ten", "parameter epochs must be a whole number, like 100, not 'ten'."),
        ("epochs", "1.5", "parameter epochs must be a whole number, like 100, not 1.5."),
        ("epochs", "1e3", "parameter epochs must be a whole number, like 100, not 1000.0."),
        ("epochs", "true", "parameter epochs must be a whole number, like 100, not True."),
        ("epochs", "[1]", "parameter epochs must be a whole number, like 100, not [1]."),
        ("epochs", "", "parameter epochs must be a whole number, like 100, not ''."),
        ("epochs", True, "parameter epochs must be a whole number, like 100, not True."),
        ("rate", "fast", "parameter rate must be a number, like 0.1, not 'fast'."),
        ("rate", "null", "parameter rate must be a number, like 0.1, not None."),
        ("rate", "nan", "parameter rate must be a number, like 0.1, not 'nan'."),
        ("rate", False, "parameter rate must be a number, like 0.1, not False."),
        ("fast", "1", "parameter fast must be true or false, like False, not 1."),
        ("fast", "yes", "parameter fast must be true or false, like False, not 'yes'."),
        ("equal", 3, "parameter equal must be a text, like 'steps', not 3."),
        ("sizes", "100,many", "parameter sizes must be a whole number, like 100, not 'many'."),
        ("sizes", [100, 0.5], "parameter sizes must be a whole number, like 100, not 0.5."),
        ("sizes", "", "parameter sizes must be a whole number, like 100, not ''."),
        ("names", [1], "parameter names must be a text, like 'digits', not 1."),
        ("flags", "0", "parameter flags must be true or false, like True, not 0."),
        ("epoch", "7", "unknown parameter of toy 'epoch'; did you mean 'epochs'? Known: names, sizes"),
    ],
)
def test_what_does_not_fit_is_one_sentence(toy, name, value, message):
    with pytest.raises(InputError, match="^" + re.escape(message)) as caught:
        given(**{name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{[]: 1}", "(" * 500, "1 if", "\\", "'", "[", "]", "[,]", "__import__('os')"])
def test_strange_texts_stay_texts(text):
    assert chapters.parse(text) in (text, ["", ""])


def test_a_profile_and_then_the_command_line(toy):
    toy.profile("mine", toy={"epochs": 5, "rate": "5e-4", "sizes": 50, "names": ["mnist"]})  # YAML reads 5e-4 as a text
    found = chapters.parameters("toy", "mine", {"epochs": "6"})
    assert found == {**DECLARED, "epochs": 6, "rate": 0.0005, "sizes": [50], "names": ["mnist"]}
    assert chapters.parameters("toy", "quick") == DECLARED
    toy.profile("empty")
    assert chapters.parameters("toy", "empty") == DECLARED
    assert {"quick", "mine", "empty"} <= set(chapters.profiles())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("toy: {epochs: ten}", "parameter epochs must be a whole number, like 100, not 'ten'"),
        ("toy: {epoch: 3}", "unknown parameter of toy 'epoch'; did you mean 'epochs'"),
        ("toys: {epochs: 3}", "unknown chapter in mine.yml 'toys'; did you mean 'toy'"),
        ("toy: [epochs]", "mine.yml must hold, for each chapter, its parameters"),
        ("- toy", "mine.yml must hold, for each chapter, its parameters"),
        ("toy: {epochs: [", "mine.yml is not readable YAML"),
    ],
)
def test_a_wrong_profile_is_one_sentence(toy, content, message):
    (toy.root / "book" / "profiles" / "mine.yml").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        chapters.parameters("toy", "mine")
    assert "\n" not in str(caught.value)


def test_unknown_names(toy):
    with pytest.raises(InputError, match="unknown profile 'lapto'; did you mean 'laptop'"):
        chapters.parameters("toy", "lapto")
    with pytest.raises(InputError, match="unknown chapter 'tony'; did you mean 'toy'"):
        chapters.parameters("tony")


def test_wrong_notebooks(toy):
    toy.chapter("computed", sum="1 + 1")
    path = toy.root / "book" / "chapters"
    (path / "computed.ipynb").write_text((path / "computed.ipynb").read_text().replace("'1 + 1'", "f(1)"))
    with pytest.raises(InputError, match="computed.ipynb: the cell of parameters takes lines `name = value` only"):
        chapters.defaults("computed")
    (path / "cut.ipynb").write_text((path / "toy.ipynb").read_text()[:200])
    with pytest.raises(InputError, match="cut.ipynb is not a readable notebook .*; restore it with git"):
        chapters.defaults("cut")
    (path / "bare.ipynb").write_text('{"cells": []}')
    with pytest.raises(InputError, match="bare.ipynb has no cell tagged 'parameters'"):
        chapters.defaults("bare")
    assert chapters.title("bare") == "bare"


def test_chapters_come_in_the_order_of_the_contents(here):
    before = chapters.names()
    here.chapter("a_new_one", seeds=1)
    assert chapters.names() == [*before, "a_new_one"]


def test_every_profile_of_the_book_fits_every_chapter(here):
    for profile in chapters.profiles():
        for name in chapters.names():
            assert set(chapters.parameters(name, profile)) == set(chapters.defaults(name))
