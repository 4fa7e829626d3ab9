"""Parameters: what a notebook declares, what a profile sets, what the command line changes, and everything that can be wrong with them."""

import re

import pytest
from checkouts import CHAPTERS

from ncbook import chapters
from ncbook.errors import InputError
from ncbook.publish import notebooks
from ncbook.publish.parameters import parameters, parse

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
    return {name: parameters("toy", "quick", changes)[name] for name in changes}


def test_defaults_are_the_notebooks(toy):
    assert notebooks.defaults("toy") == parameters("toy") == DECLARED
    assert notebooks.title("toy") == "What *toys* do"


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
    assert parse(text) in (text, ["", ""])


def test_a_profile_and_then_the_command_line(toy):
    toy.profile("mine", toy={"epochs": 5, "rate": "5e-4", "sizes": 50, "names": ["mnist"]})  # YAML reads 5e-4 as a text
    found = parameters("toy", "mine", {"epochs": "6"})
    assert found == {**DECLARED, "epochs": 6, "rate": 0.0005, "sizes": [50], "names": ["mnist"]}
    assert parameters("toy", "quick") == DECLARED
    toy.profile("empty")
    assert parameters("toy", "empty") == DECLARED
    assert {"quick", "mine", "empty"} <= set(chapters.profiles())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("mine: {epochs: ten}", "parameter epochs must be a whole number, like 100, not 'ten'"),
        ("mine: {epoch: 3}", "unknown parameter of toy 'epoch'; did you mean 'epochs'"),
        ("mine: [epochs]", "toy/profiles.yml must hold, for each profile, its parameters"),
        ("- mine", "toy/profiles.yml must hold, for each profile, its parameters"),
        ("mine: {epochs: [", "toy/profiles.yml is not readable YAML"),
    ],
)
def test_a_wrong_profile_is_one_sentence(toy, content, message):
    toy.profile("mine", toy={})
    (toy.root / CHAPTERS / "toy" / "profiles.yml").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        parameters("toy", "mine")
    assert "\n" not in str(caught.value)


def test_unknown_names(toy):
    with pytest.raises(InputError, match="unknown profile 'lapto'; did you mean 'laptop'"):
        parameters("toy", "lapto")
    with pytest.raises(InputError, match="unknown chapter 'tony'; did you mean 'toy'"):
        parameters("tony")


def test_wrong_notebooks(toy):
    toy.chapter("computed", sum="1 + 1")
    path = toy.root / "book" / "chapters"
    (path / "computed.ipynb").write_text((path / "computed.ipynb").read_text().replace("'1 + 1'", "f(1)"))
    with pytest.raises(InputError, match="computed.ipynb: the cell of parameters takes lines `name = value` only"):
        notebooks.defaults("computed")
    (path / "cut.ipynb").write_text((path / "toy.ipynb").read_text()[:200])
    with pytest.raises(InputError, match="cut.ipynb is not a readable notebook .*; restore it with git"):
        notebooks.defaults("cut")
    (path / "bare.ipynb").write_text('{"cells": []}')
    with pytest.raises(InputError, match="bare.ipynb has no cell tagged 'parameters'"):
        notebooks.defaults("bare")
    assert notebooks.title("bare") == "bare"


def test_chapters_come_in_the_order_of_the_contents(here):
    before = notebooks.names()
    here.chapter("a_new_one", seeds=1)
    assert notebooks.names() == [*before, "a_new_one"]


def test_profiles_come_by_size(toy):
    assert chapters.profiles() == ["quick", "laptop", "paper", "paper-full"]
    (toy.root / CHAPTERS / "toy").mkdir()
    (toy.root / CHAPTERS / "toy" / "profiles.yml").write_text("laptop: {}\nworkstation: {epochs: 7}\npaper: {}\n")
    assert chapters.profiles() == ["quick", "laptop", "workstation", "paper", "paper-full"]
    (toy.root / CHAPTERS / "toy" / "profiles.yml").write_text("paper: {}\nlaptop: {}\n")
    with pytest.raises(InputError, match="profiles.yml do not agree which of laptop, paper is larger"):
        chapters.profiles()


def test_every_profile_of_the_book_fits_every_chapter(here):
    for profile in chapters.profiles():
        for name in notebooks.names():
            assert set(parameters(name, profile)) == set(notebooks.defaults(name))
