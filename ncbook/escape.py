"""Text that comes from runs, records, folders and parameters, as it may stand on a page: shown letter by letter, whatever is in it."""

import re

# CommonMark, 2.4: a backslash makes any of them an ordinary letter. HTML, and MyST's roles, tables, formulas and substitutions begin so.
PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
PLAIN = re.compile(r"[\w.:=,+/-]+( [\w.:=,+/-]+)*")


def markdown(value: object) -> str:
    r"""`value` as Markdown that says just that, in one line: in prose, in a cell of a table, in a caption.

    >>> markdown("a|b <script>")
    'a\\|b \\<script\\>'
    """
    line = " ".join(str(value).split())  # a new line could begin a heading, a list or another row
    return PUNCTUATION.sub(r"\\\g<0>", "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line))


def code(value: object) -> str:
    """A value as inline code in Markdown, whatever letters it holds.

    >>> code("quick"), code("a`b")
    ('`quick`', 'a\\\\`b')
    """
    return f"`{value}`" if PLAIN.fullmatch(str(value)) else markdown(value)
