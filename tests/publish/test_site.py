"""A page loads what it shows and nothing else, and says what it is."""

import re
from importlib import import_module
from types import SimpleNamespace

import pytest
import yaml
from checkouts import BOOK
from docutils import nodes

from ncbook.publish import render, site

CONFIG = {"site_description": 'Re-run, "measured" & judged.', "html_title": "A book", "project": "Project name not set"}
APP = SimpleNamespace(config=SimpleNamespace(**CONFIG, html_baseurl=""), srcdir="no folder")


def script(name: str | None, body: str = "") -> SimpleNamespace:
    return SimpleNamespace(filename=name, attributes={"body": body} if body else {})


def page(*content: nodes.Node, title: str = "A page") -> dict:
    names = ["_static/doctools.js", "_static/sphinx-thebe.js", "_static/mathjax/tex-chtml.js"]
    context = {
        "script_files": [
            *map(script, names),
            script(None, "window.MathJax = {}"),
            script(None, "const THEBE_JS_URL = 1"),
            script(None, "let a = 1"),
        ],
        "css_files": [script("_static/sphinx-thebe.css"), script("_static/pygments.css")],
        "metatags": "<meta/>",
        "title": title,
    }
    doctree = nodes.document(None, None)
    doctree += content
    site._page(APP, "a", "page.html", context, doctree)
    return context


def named(files: list) -> list[str]:
    return [file.filename or file.attributes["body"] for file in files]


@pytest.mark.parametrize("formula", [nodes.math("", "x"), nodes.math_block("", "x"), nodes.paragraph("", "", nodes.math("", "x"))])
def test_formulas_are_typeset_where_there_are_some(formula):
    kept = ["_static/doctools.js", "_static/mathjax/tex-chtml.js", "window.MathJax = {}", "let a = 1"]
    assert named(page(formula)["script_files"]) == kept
    assert named(page(nodes.paragraph("", "$x$"))["script_files"]) == ["_static/doctools.js", "let a = 1"]


@pytest.mark.parametrize("part", ["film", "explore"])
def test_a_page_loads_the_script_of_what_it_shows(part):
    def loaded(body: str) -> list[str]:
        files = [f"_static/{name}" for name in ("film.js", "explore.js", "vega/vega.min.js", "book.js")]
        sheets = [f"_static/{name}.css" for name in ("film", "explore", "book")]
        context = {"script_files": [*map(script, files)], "css_files": [*map(script, sheets)], "body": body}
        site._page(APP, "a", "page.html", context, None)
        return named(context["script_files"]) + named(context["css_files"])

    assert loaded("<p>film explore</p>") == ["_static/book.js", "_static/book.css"]
    assert loaded(f'<div class="nc-{part}">') == [f"_static/{part}.js", "_static/book.js", f"_static/{part}.css", "_static/book.css"]


def test_what_runs_code_elsewhere_is_left_out():
    assert named(page()["css_files"]) == ["_static/pygments.css"]


def test_a_page_says_what_it_is():
    tags = page(title="<em>One</em> &amp; &quot;two&quot;")["metatags"]
    assert tags.startswith("<meta/>")
    assert '<meta name="description" content="Re-run, &quot;measured&quot; &amp; judged." />' in tags
    assert '<meta property="og:title" content="One &amp; &quot;two&quot;" />' in tags
    assert '<meta property="og:site_name" content="A book" />' in tags and "og:image" not in tags
    assert '<meta property="og:title" content="A book" />' in page(title="")["metatags"]


def test_the_card_of_a_chapter_is_its_picture_where_the_site_has_an_address(tmp_path):
    cards = tmp_path / "_static" / "cards"
    cards.mkdir(parents=True)
    for name in ("b", "a"):
        (cards / f"{name}.webp").touch()
    app = SimpleNamespace(config=SimpleNamespace(**CONFIG, html_baseurl="https://book.example/nc/"), srcdir=str(tmp_path))

    def picture(name: str) -> str:
        site._page(app, name, "page.html", context := {}, None)
        return re.search('property="og:image" content="(.*?)"', context["metatags"])[1]

    assert picture("chapters/b") == "https://book.example/nc/_static/cards/b.webp"
    assert picture("intro") == "https://book.example/nc/_static/cards/a.webp"
    app.srcdir = str(tmp_path / "none")
    assert site._picture(app, "intro") == ""


def test_what_the_theme_draws_twice_is_dropped_and_images_wait_in_their_place(tmp_path):
    (tmp_path / "_static").mkdir()
    (tmp_path / "_images").mkdir()
    (tmp_path / "_images" / "a b.svg").write_text('<svg width="540pt" viewBox="0 0 540 201.6">')
    sized = '<img width="2" src="_images/a%20b.svg"><img loading="eager" src="_images/a%20b.svg">'
    others = f'{sized}<img src="b.png"><img src="_images/gone.svg">'
    before = f"""<head>
  <script defer src="_static/scripts/fontawesome.js?digest=1"></script></head><div role="list" class="citation-list">
<img alt="x" src="_images/a%20b.svg">{others}"""
    after = f"""<head></head><div class="citation-list">
<img loading="lazy" width="540" height="202" alt="x" src="_images/a%20b.svg">{others}"""
    for name in ("a.html", "_static/macros.html"):
        (tmp_path / name).write_text(before)
    app = SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=str(tmp_path))
    site._finish(app, ValueError())
    assert (tmp_path / "a.html").read_text() == before
    for _ in range(2):  # a build that changes nothing leaves them as they are
        site._finish(app, None)
        assert (tmp_path / "a.html").read_text() == after
    assert (tmp_path / "_static" / "macros.html").read_text() == before


def test_a_word_of_the_glossary_says_what_it_means(tmp_path):
    definition = '<p>A "sum" of <span class="math">\\(h\\)</span> &amp; <em>more</em>.</p>'
    (tmp_path / "glossary.html").write_text(f'<dt id="term-a-word">a word<a class="headerlink" href="#x">#</a></dt><dd>{definition}\n</dd>')
    link = '<a class="reference internal" {}href="../glossary.html#term-{}">'
    (tmp_path / "chapters").mkdir()
    page = tmp_path / "chapters" / "a.html"
    page.write_text(link.format("", "a-word") + link.format("", "unknown"))
    app = SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=str(tmp_path))
    for _ in range(2):
        site._finish(app, None)
        assert page.read_text() == link.format('title="A &quot;sum&quot; of h &amp; more." ', "a-word") + link.format("", "unknown")
    (tmp_path / "glossary.html").write_text('<dt id="term-a-word">a word</dt><dd><p>Less.</p>\n</dd>')  # whose pages stay
    site._finish(app, None)
    assert page.read_text() == link.format('title="Less." ', "a-word") + link.format("", "unknown")


def test_the_configuration_keeps_its_licence_line():
    config = yaml.safe_load((BOOK / "_config.yml").read_text())
    assert "CC-BY-4.0" in config["sphinx"]["config"]["html_theme_options"]["extra_footer"]  # under `html` the theme would not see it
    assert config["sphinx"]["config"]["site_description"]
    assert config["sphinx"]["config"]["html_show_search_summary"] is False  # from disk nothing can be fetched


def test_pages_are_made_again_when_the_extension_changes(tmp_path, monkeypatch):
    package, stage = tmp_path / "package", tmp_path / "stage"
    (package / "publish").mkdir(parents=True)
    stage.mkdir()
    (stage / "intro.md").write_text("# A book\n")
    monkeypatch.setattr(render, "PACKAGE", package)
    digests = []
    for code in ("a = 1\n", "a = 1  # the same\n", "a = 2\n"):
        (package / "publish" / "site.py").write_text(code)
        digests.append(render._sources(stage))
    assert digests[0] == digests[1] != digests[2]


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """Theme options as the extension leaves them, of a book whose configuration has this repository."""

    def options(repository: dict | None) -> dict:
        (tmp_path / "_config.yml").write_text(yaml.safe_dump({"repository": repository}), encoding="utf-8")
        monkeypatch.setenv("NCBOOK_ROOT", str(tmp_path))
        config = SimpleNamespace(html_theme_options={"extra_footer": "kept"})
        site._buttons(APP, config)
        return config.html_theme_options

    return options


def test_buttons_to_the_repository_where_there_is_one(configured):
    options = configured({"url": "https://github.com/someone/book/"})
    assert options["repository_url"] == "https://github.com/someone/book" and options["extra_footer"] == "kept"
    assert options["use_issues_button"] and options["launch_buttons"]["binderhub_url"].startswith("https://")


@pytest.mark.parametrize(
    ("host", "provider", "issues", "edit", "colab"),
    [
        ("github.com", "github", True, True, True),
        ("github.uni.example", "github", True, True, False),  # Colab does not see it
        ("gitlab.uni.example", "gitlab", True, True, False),
        ("bitbucket.org", "bitbucket", False, True, False),  # the theme refuses to link to its issues
        ("codeberg.org", "github", True, False, False),
    ],
)
def test_a_repository_may_be_anywhere(configured, host, provider, issues, edit, colab):
    options = configured({"url": f"https://{host}/someone/book"})
    assert options["repository_provider"] == provider
    assert (options["use_issues_button"], options["use_edit_page_button"]) == (issues, edit)
    assert ("colab_url" in options["launch_buttons"]) == colab


@pytest.mark.parametrize("repository", [None, {}, {"url": None}])
def test_no_buttons_without_a_repository(configured, repository):
    assert configured(repository) == {"extra_footer": "kept"}


def test_a_norm_in_a_docstring_is_no_substitution():
    lines = ["The norm |h| of `a|b` and ``c|d``, |w| too.", "    >>> 1 | 2"]
    site._docstring(APP, "function", "f", None, None, lines)
    assert lines == [r"The norm \|h\| of `a|b` and ``c|d``, \|w\| too.", "    >>> 1 | 2"]


@pytest.mark.parametrize("package", ["ncbook", "ncbook.metrics", "ncbook.theory"])
def test_what_is_public_is_on_the_page_of_the_python_interface(package):
    directives = re.findall(
        r"^\.\. auto(\w+):: (\S+)(?:\n +:members:(.*))?", (BOOK / "book" / "api.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    shown = set()
    for kind, name, members in directives:
        if kind == "module":
            module = import_module(name)
            own = [n for n, value in vars(module).items() if getattr(value, "__module__", None) == name and not n.startswith("_")]
            shown |= {member.strip() for member in members.split(",")} - {""} or set(own)
        else:
            shown.add(name.rpartition(".")[2])
    public = import_module(package)
    names = [name for name in getattr(public, "__all__", None) or dir(public) if not name.isupper()]
    assert names and set(names) <= shown
