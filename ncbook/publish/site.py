"""A Sphinx extension: a page loads what it shows, and nothing else; it says what it is to search engines and to those who share it.

Jupyter Book puts on every page the scripts of Thebe, which run code on a server that this book does not have (and two of them declare the
same constant, an error in every console), MathJax, which is heavy, and a script that draws the icons a second time, which the style sheet
draws already.
"""

import html
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

from ncbook.publish import launch, sources
from ncbook.runs.digest import digest

ICONS = re.compile(r'\s*<script[^>]*src="[^"]*/scripts/fontawesome\.js[^"]*"></script>')
IMAGE = re.compile(r'<img (?![^>]*\b(?:loading|width)=)(?=[^>]*\bsrc="([^"]+\.svg)")')
SIZE = re.compile(r'<svg [^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"')
TERM = re.compile(r'<dt id="(term-[^"]+)">.*?</dt><dd>(.*?)</dd>', re.DOTALL)
USED = re.compile(r'(<a class="reference internal" )(?:title="[^"]*" )?(?=href="[^"#]*glossary\.html#(term-[^"]+)")')
LIST = re.compile(r'<div role="list" (?=class="citation-list")')  # docutils names a list whose children are no items of one
NEEDLESS = re.compile(r"thebe|_static/vega/", re.IGNORECASE)  # explore.js loads Vega by itself, when a chart comes into view
MATHJAX = re.compile(r"mathjax", re.IGNORECASE)
NORM = re.compile(r"(``.*?``|`.*?`|^ *(?:>>>|\.\.\.).*)|\|")  # outside of code
PROVIDERS = ("github", "gitlab", "bitbucket")  # hosts that the theme knows
PARTS = {"film": 'class="nc-film"', "explore": 'class="nc-explore"'}  # a script and a style sheet, and what needs them


def setup(app: Sphinx) -> dict:
    """Registers the extension with Sphinx."""
    app.add_config_value("site_description", "", "html", [str])
    app.connect("config-inited", _buttons)
    app.connect("env-get-updated", _again, priority=900)  # after figures have their numbers
    app.connect("html-page-context", _page, priority=900)  # after the extensions that add their scripts
    app.connect("build-finished", _finish)
    app.connect("autodoc-process-docstring", _docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _page(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    formulas = doctree is not None and any(doctree.findall(lambda node: isinstance(node, nodes.math | nodes.math_block)))
    context["script_files"] = [
        script for script in context.get("script_files", []) if not _is(script, NEEDLESS) and (formulas or not _is(script, MATHJAX))
    ]
    context["css_files"] = [sheet for sheet in context.get("css_files", []) if not _is(sheet, NEEDLESS)]
    for part, needs in PARTS.items():
        if needs not in context.get("body", ""):
            for kind in ("script_files", "css_files"):
                context[kind] = [file for file in context[kind] if not _is(file, re.compile(rf"/{part}\."))]
    context["metatags"] = context.get("metatags", "") + _tags(
        app.config.site_description, context.get("title", ""), app.config.html_title, _picture(app, pagename)
    )


def _buttons(app: Sphinx, config: Config) -> None:
    """Buttons to the source, to its issues, to Binder and to Colab, where the configuration says where the repository is."""
    if base := sources.repository():
        provider = host if (host := sources.host()) in PROVIDERS else None
        config.html_theme_options |= {
            "repository_url": base,
            "repository_branch": "main",
            "path_to_docs": "book",
            "repository_provider": provider or "github",  # whose addresses most others have, but for those to edit
            "use_repository_button": True,
            "use_issues_button": provider != "bitbucket",  # the theme has none for it
            "use_edit_page_button": provider is not None,
            "launch_buttons": {"binderhub_url": "https://mybinder.org", "notebook_interface": "jupyterlab"}
            | ({"colab_url": launch.COLAB} if launch.on_colab() else {}),
        }


def _again(app: Sphinx, env: BuildEnvironment) -> Iterable[str]:
    """The pages to write although what they are made of is as it was; and images are copied, whoever shows them.

    Sphinx follows what a page includes, and not what it says of others: where any page, figure, section, term or citation has another name,
    number or place, all are written. The search index loses the functions and terms of a page that is not written.
    """
    app.builder.images |= {source: name for source, (_, name) in env.images.items()}
    named = sorted([kind, *map(str, entry)] for kind, domain in env.domains.items() for entry in domain.get_objects())
    cited = [[citation.key, citation.citation_id] for citation in env.domaindata["cite"]["citations"]]
    before, shown = getattr(env, "ncbook_shown", None), digest([named, cited, env.toc_fignumbers])
    env.ncbook_shown = shown  # type: ignore[attr-defined] # Sphinx keeps it with the rest
    listed = [page for page, entries in env.domaindata["index"]["entries"].items() if entries]
    return env.found_docs if shown != before else [app.config.root_doc, *listed]  # with no page to write, Sphinx would copy nothing


def _docstring(app: Sphinx, what: str, name: str, documented: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text with formulas, in which | is a norm and never the sign of a substitution."""
    lines[:] = [NORM.sub(lambda found: found[1] or r"\|", line) for line in lines]


def _is(asset, pattern: re.Pattern) -> bool:
    attributes = getattr(asset, "attributes", {})
    return bool(pattern.search(f"{getattr(asset, 'filename', asset)} {attributes.get('body', '')}"))


def _picture(app: Sphinx, page: str) -> str:
    """The address of the card of a page's chapter, else of some chapter; nothing where the configuration does not say where the site is."""
    cards = sorted((Path(app.srcdir) / "_static" / "cards").glob("*.webp"), key=lambda card: (card.stem != Path(page).name, card))
    return f"{app.config.html_baseurl.rstrip('/')}/_static/cards/{cards[0].name}" if app.config.html_baseurl and cards else ""


def _tags(description: str, title: str, book: str, picture: str = "") -> str:
    """The tags of a page's head for search engines and for the cards of those who share it."""
    said, name, whole = html.escape(description), html.escape(book), html.escape(html.unescape(re.sub(r"<[^>]*>", "", title)) or book)
    return f"""
  <meta name="description" content="{said}" />
  <meta property="og:type" content="website" />
  <meta property="og:site_name" content="{name}" />
  <meta property="og:title" content="{whole}" />
  <meta property="og:description" content="{said}" />
  <meta name="twitter:card" content="summary" />
""" + (f'  <meta property="og:image" content="{html.escape(picture)}" />\n' if picture else "")


def _finish(app: Sphinx, exception: Exception | None) -> None:
    """What no template can be told: drop the second drawing of the icons and a wrong role; images wait until they come into view; a word of
    the glossary says what it means to a mouse that rests on it."""
    if exception is None and app.builder.format == "html":
        glossary = Path(app.outdir) / "glossary.html"
        meanings = dict(TERM.findall(glossary.read_text(encoding="utf-8"))) if glossary.is_file() else {}
        for page in Path(app.outdir).rglob("*.html"):
            if "_static" not in page.relative_to(app.outdir).parts:
                text = page.read_text(encoding="utf-8")
                better = USED.sub(partial(_explained, meanings), LIST.sub("<div ", ICONS.sub("", text)))
                better = IMAGE.sub(partial(_waiting, page), better)
                if better != text:
                    page.write_text(better, encoding="utf-8")


def _explained(meanings: dict[str, str], link: re.Match) -> str:
    """A link to a word of the glossary, with its meaning as plain text; a formula is left as it is written in TeX."""
    plain = " ".join(re.sub(r"<[^>]*>|\\[()]", "", meanings.get(link[2], "")).split())
    return f'{link[1]}title="{html.escape(html.unescape(plain))}" ' if plain else link[1]


def _waiting(page: Path, image: re.Match) -> str:
    """An image that is loaded when it comes into view, and has its place before that: what a link leads to must not move away."""
    drawn = page.parent / unquote(image[1])
    size = SIZE.search(drawn.read_text(encoding="utf-8")[:2000]) if drawn.is_file() else None
    return f'<img loading="lazy" width="{float(size[1]):.0f}" height="{float(size[2]):.0f}" ' if size else image[0]
