"""The opening page and the ledger say what the verdicts are, whatever they are; no number in them is typed."""

import csv
import io
import json
import re
import tomllib
from collections import Counter
from urllib.parse import unquote

import pytest
from checkouts import BOOK

from ncbook import chapters, paths
from ncbook.claims.text import MARKS
from ncbook.errors import InputError
from ncbook.publish import front, ledger, notebooks, questions, records, sources
from ncbook.publish.execute import Chapter
from ncbook.publish.ledger import Judged

CHAPTER = "cascading_collapse"
CLAIMS = sum(entry.get("kind", "claim") == "claim" for entry in chapters.entries(CHAPTER))


def part(verdict: str, **more) -> dict:
    return {"setting": {"dataset": "mnist"}, "verdict": verdict, "n": 5, "estimate": 0.5, "low": 0.4, "high": 0.6, **more}


@pytest.fixture
def book(monkeypatch):
    """Verdicts as a test gives them: a chapter's claims by their words, then its controls and checks, the others not measured."""
    monkeypatch.setenv("NCBOOK_ROOT", str(BOOK))

    def judge(words: list[str], parts: list[dict] | None = None, profile: str = "laptop") -> Chapter:
        ids = [entry["id"] for entry in sorted(chapters.entries(CHAPTER), key=lambda entry: entry.get("kind", "claim") != "claim")]
        words = [*words, *["not measured"] * (len(ids) - len(words))]
        of_id = dict(zip(ids, words, strict=True))
        found = [
            {"id": entry["id"], "verdict": of_id[entry["id"]], "parts": parts or [], "reason": ""} for entry in chapters.entries(CHAPTER)
        ]
        monkeypatch.setattr(ledger, "verdicts", lambda chapter: found)
        return Chapter(CHAPTER, profile, {})

    return judge


def words(markup: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", markup).split())


def test_the_score_counts_the_verdicts(book):
    score = words(front.pages([book(["supported", "supported", "contradicted", "inconclusive"])], {})["score"])
    for said in (f"{CLAIMS} claims", "2 ✔ supported", "1 ✘ contradicted", "1 ? inconclusive", f"{CLAIMS - 4} – not measured"):
        assert said in score
    assert "exploratory" not in score and "1 … exploratory" in words(front.pages([book(["exploratory"])], {})["score"])


@pytest.mark.parametrize(("profile", "unrun"), [("quick", True), ("laptop", True), ("paper", False), ("paper-full", False)])
def test_the_scale_of_the_papers_is_said_to_be_missing_while_it_is(book, profile, unrun):
    score = front.pages([book([], profile=profile)], {})["score"]
    assert ("own scale has not been run" in score) == unrun and "in 1 of 1 chapters" in score


def test_some_chapters_at_the_scale_of_the_papers(book):
    chapter = book([])
    score = front.pages([chapter, Chapter(CHAPTER, "paper", {})], {})["score"]
    assert (
        "**paper** in 1 of 2 chapters, **laptop** in 1 of 2 chapters" in score.replace("\\", "") and "not been run in 1 of them**" in score
    )


def test_a_card_answers_from_the_verdicts(book):
    asked = questions._written()[CHAPTER]
    statement = {entry["id"]: entry["statement"] for entry in chapters.entries(CHAPTER)}[asked["answered_by"][0]]
    settings = [part("supported"), *[part("contradicted")] * 3]
    for word in ("supported", "contradicted", "inconclusive"):
        card = words(front.pages([book([word], settings)], {CHAPTER: "x.webp"})["cards"])
        assert "``````{raw} html " + asked["question"] in card and card.startswith("1 chapter judges claims; [Watching")
        assert f"{word.capitalize()} (1 of 4 settings supports it, and all must): {statement}" in card
        assert f"{CLAIMS} claims: 1 {word}" in card


def test_a_card_says_in_short_what_is_written_for_its_verdicts_and_nothing_otherwise(book, monkeypatch):
    asked = questions._written()[CHAPTER]
    said = [one["say"] for one in asked["in_short"]]
    words_of = dict(zip(asked["answered_by"], asked["in_short"][1]["when"], strict=True))
    assert questions.in_short(CHAPTER, words_of) == said[1]
    assert questions.in_short(CHAPTER, {**words_of, asked["answered_by"][0]: "inconclusive"}) == ""
    assert not any(sentence in words(front.pages([book([])], {})["cards"]) for sentence in said)


def test_every_question_is_answered_by_claims_of_its_chapter():
    asked = questions._written()
    known = {name: {entry["id"] for entry in chapters.entries(name)} for name in asked}
    for name, card in asked.items():
        assert card["question"].endswith("?") and card["answered_by"] and set(card["answered_by"]) <= known[name], name
        assert not re.search(r"\d", card["question"]), "a result does not belong into a question"


def test_a_chapter_without_question_claims_or_picture_has_a_card(book, monkeypatch):
    chapter = book(["supported"])
    monkeypatch.setattr(questions, "_written", dict)
    assert f"Supported : {chapters.entries(CHAPTER)[0]['statement']}" in words(front.pages([chapter], {})["cards"])
    monkeypatch.setattr(front.chapters, "entries", lambda name: [])
    monkeypatch.setattr(ledger, "verdicts", lambda chapter: [])
    pages = front.pages([chapter], {})
    assert (
        'href="chapters/cascading_collapse.html"' in pages["cards"] and "<img" not in pages["cards"] and "0 claims" in words(pages["score"])
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "is not readable YAML"),
        ("- a", "must hold, for each chapter"),
        ("a: {question: Why}", "must hold, for each chapter"),
        ("a: {question: Why, answered_by: claim}", "must hold, for each chapter"),
        ("a: {question: Why, answered_by: [b], in_short: [{when: [supported], say: So}, {when: [], say: So}]}", "must hold, for each"),
        ("a: {question: Why, answered_by: [b], in_short: [{when: [suported], say: So}]}", "must hold, for each chapter"),
        ("a: {question: Why, answered_by: [b], in_short: [{when: [[supported]], say: So}]}", "must hold, for each chapter"),
        ("a: {question: Why, answered_by: [b], in_short: [{when: [supported], say: No}]}", "must hold, for each chapter"),
        (f"{CHAPTER}: {{question: Why, answered_by: [cascade-deepen]}}", "cascade-deepen.*cascade-deepens"),
    ],
)
def test_questions_that_cannot_be_read_are_one_sentence(tmp_path, monkeypatch, text, says):
    monkeypatch.setattr(front.paths, "root", lambda: tmp_path)
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "questions.yml").write_text(text)
    monkeypatch.setattr(front.chapters, "entries", lambda name: [{"id": "cascade-deepens", "figure": "a"}])
    with pytest.raises(InputError, match=says):
        questions.answering(CHAPTER)


def test_the_picture_of_a_card_is_small(book, tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr(Chapter, "folder", tmp_path)
    figure = front._figure(book([]))
    (tmp_path / "figures").mkdir()
    Image.effect_noise((900, 420), 90).save(tmp_path / "figures" / f"{figure}.panel.png")
    assert front.thumbnails([book([])], tmp_path / "cards") == {CHAPTER: f"{CHAPTER}.webp"}
    with Image.open(tmp_path / "cards" / f"{CHAPTER}.webp") as picture:
        assert picture.size == front.THUMBNAIL
    (tmp_path / "figures" / f"{figure}.panel.png").unlink()
    assert front.thumbnails([book([])], tmp_path / "cards") == {}


def test_how_to_cite_is_as_the_citation_file_says(book):
    from ncbook.version import __version__

    cite = front.pages([book([])], {})["cite"]
    assert "@software{ncbook," in cite and f"version = {{{__version__}}}" in cite and "author  = {{The ncbook authors}}" in cite
    said = (paths.root() / "CITATION.cff").read_text()
    assert re.search(r'title: "(.*)"', said)[1] in cite and re.search(r"date-released: (\d{4})", said)[1] in cite
    assert re.search(r"```bibtex.*?```", cite, re.DOTALL)[0] in (BOOK / "README.md").read_text()
    assert "Last verification" in cite and "CC-BY-4.0" in cite


def test_the_readme_counts_the_verdicts_of_the_largest_records():
    claims = {entry["id"] for entry in chapters.entries() if entry.get("kind", "claim") == "claim"}
    counts = Counter()
    for name in notebooks.names():
        known = records.read(paths.record(records.on_record(name)[0], name)).provenance
        counts.update(verdict["verdict"] for verdict in known["verdicts"] if verdict["id"] in claims)
    said = f"{sum(counts.values())} claims, {ledger.counts_text(counts)}"
    assert said in " ".join((BOOK / "README.md").read_text(encoding="utf-8").split()), f"README.md must say: {said}"


BADGE = re.compile(r"^\[!\[(.+)\]\((\S+)\)\]\((\S+)\)$", re.MULTILINE)


def test_the_badges_of_the_readme_are_true(book):
    badges = {words: (unquote(image), target) for words, image, target in BADGE.findall((BOOK / "README.md").read_text(encoding="utf-8"))}
    project = tomllib.loads((BOOK / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lowest = project["requires-python"].removeprefix(">=")
    licences = re.findall(r"^  - (\S+)$", (BOOK / "CITATION.cff").read_text(), re.MULTILINE)[:2]
    assert project["license"] == licences[0] and all((BOOK / target).is_file() for _, target in badges.values() if ":" not in target)
    expected = {f"Python {lowest} or newer": f"≥ {lowest}", f"Code {licences[0]}, text {licences[1]}": " · ".join(licences)}
    if (url := sources.repository()) and sources.host() == "github":  # of the workflow that runs the tests
        expected["tests"] = f"{url}/actions/workflows/test.yml/badge.svg"
    assert list(badges) == list(expected), f"README.md must have these badges: {expected}"
    assert all(said in badges[words][0].replace("--", "-") for words, said in expected.items())
    assert (BOOK / ".github" / "workflows" / "test.yml").is_file()


def test_a_contradicted_claim_carries_its_fraction(book):
    settings = [part("supported")] * 16 + [part("contradicted")] * 4
    page = ledger.pages([book(["contradicted"], settings)])["ledger"]
    assert "**Contradicted**: 16 of 20 settings support it, and all must, in the profile `laptop`" in page
    row = next(line for line in page.splitlines() if line.startswith('<tr data-verdict="contradicted"'))
    assert "16 of 20 settings" in row and 'data-value="0.8"' in row and "Hui et al. 2022" in row
    assert re.search(r'<a class="nc-to-figure" href="chapters/\w+\.html#[\w-]+">figure</a>', row)


def test_one_setting_shows_its_estimate_and_a_setting_without_verdict_counts_as_none(book):
    one = ledger.pages([book(["contradicted"], [part("contradicted")])])["ledger"]
    assert "0.5 [0.4, 0.6], n = 5" in one and "of 1 setting" not in one
    unmeasured = [{"setting": {}, "n": 1, "undefined": 4}, part("supported"), part("inconclusive")]
    assert (
        ledger.share_text({"parts": unmeasured}) == "1 of 2 settings supports it, and all must"
        and ledger.share_text({"parts": unmeasured[:2]}) == ""
    )


def test_the_ledger_has_every_claim_once_in_the_table_and_once_in_full(book):
    page = ledger.pages([book(["supported"])])["ledger"]
    for entry in chapters.entries(CHAPTER):
        rows = 1 if entry.get("kind", "claim") == "claim" else 0  # controls and checks stand below the claims that they belong to
        assert page.count(f'href="#claim-{entry["id"]}"') == rows and page.count(f"(claim-{entry['id']})=") == 1
    assert page.count(f":::::{{dropdown}} Cascading collapse: 1 supported, {CLAIMS - 1} not measured") == 1


def test_the_files_to_download_hold_the_same(book):
    settings = [part("supported"), part("contradicted", estimate=float("nan"))]
    files = ledger.tables([book(["contradicted"], settings)], [Chapter(CHAPTER, "quick", {})])
    claims = json.loads(files["claims.json"], parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    rows = list(csv.DictReader(io.StringIO(files["claims.csv"])))
    assert [c["id"] for c in claims] == [e["id"] for e in chapters.entries(CHAPTER)] and len(rows) == 2 * len(claims)
    assert claims[0]["verdict"] == "contradicted" and claims[0]["settings"][1]["estimate"] is None
    assert claims[0]["other_profiles"] == {"quick": "contradicted"}
    assert (
        rows[0] | {"estimate": "0.5", "n": "5", "verdict_of_setting": "supported", "setting": "MNIST"} == rows[0]
        and rows[1]["estimate"] == ""
    )


def test_the_sources_hold_no_result():
    """The pages that stand before the results are written by hand, and say nothing that depends on them."""
    for page in ("intro.md", "ledger.md"):
        text = (BOOK / "book" / page).read_text()
        for line in text.splitlines():
            assert not re.search(r"\d+ (of|out of) \d+|\d+ claims|(supported|contradicted|inconclusive)\W+\d|20\d\d-\d\d", line), line


# --- controls and checks --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def kinds(book, monkeypatch):
    """A claim, its control and a check, with the words given."""
    real = [{k: v for k, v in entry.items() if k not in ("of", "guard", "effect", "published")} for entry in chapters.entries(CHAPTER)]
    listed = [
        {**real[0], "id": "a-claim", "effect": 0.05, "guard": "it went on for long.", "published": "0.3 on CIFAR-10."},
        {**real[1], "id": "its-control", "kind": "control", "of": ["a-claim"], "statement": "Elsewhere it is not so."},
        {**real[2], "id": "a-check", "kind": "check"},
    ]
    monkeypatch.setattr(chapters, "entries", lambda chapter=None: listed)
    monkeypatch.setattr(ledger, "entries", lambda chapter=None: listed)
    monkeypatch.setattr(questions, "answering", lambda chapter: listed[:1])
    return book


def test_claims_alone_are_counted(kinds):
    chapter = kinds(["supported", "contradicted", "contradicted"], [part("supported")])
    pages = front.pages([chapter], {})
    assert "1 claims" in words(pages["score"]) and "0 ✘ contradicted" in words(pages["score"]) and "1 ✔ supported" in words(pages["score"])
    assert "1 claims: 1 supported" in words(pages["cards"])
    text = ledger.pages([chapter])["ledger"]
    assert "1 claims: 1 supported" in words(text) and "1 claims were judged" in text and text.count("<tr data-verdict") == 1
    assert all(f"(claim-{name})=" in text for name in ("a-claim", "its-control", "a-check"))  # what the chapter links to
    listed = json.loads(ledger.tables([chapter])["claims.json"])
    assert [(one["kind"], one["control_of"]) for one in listed] == [("claim", []), ("control", ["a-claim"]), ("check", [])]


@pytest.mark.parametrize("word", ["supported", "contradicted", "inconclusive", "not measured"])
def test_a_control_that_is_not_as_it_must_be_is_said_beside_the_claim(kinds, word):
    text = ledger.pages([kinds(["supported", word, "supported"], [part("supported")])])["ledger"]
    assert f"[Elsewhere it is not so.](#claim-its-control) {MARKS[word]} {word}" in text
    assert ("not to be relied on" in text) == (word != "supported")
    assert "*Control of:* [a-claim](#claim-a-claim)." in text


def test_the_ledger_gives_guard_and_power_of_a_claim_that_states_an_effect(kinds):
    chapter = kinds(["supported", "supported", "supported"], [part("supported")])
    text = ledger.pages([chapter])["ledger"]
    assert "*Undefined unless:* it went on for long." in text
    assert text.count("*Published:*") == 1 and "*Published:* 0.3 on CIFAR-10." in text  # a control and a check are no claims of a paper
    assert "*Published:* no number that we know of" in ledger._published(Judged({"evidence": "published"}, chapter, {}, []))
    assert text.count("*Power:*") == 1 and re.search(r"true with 0\.05 in every setting is called supported in \d+% of repetitions", text)
    assert 0 < json.loads(ledger.tables([chapter])["claims.json"])[0]["power"]["false_support"] < 0.05
