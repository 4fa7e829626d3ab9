"""The one error that a user can put right."""


class InputError(ValueError):
    """What was given cannot be used: the message is one sentence that says what to do.

    The command line prints the sentence without a traceback and exits with 2; in Python it is an ordinary ``ValueError``.
    """


def unknown(kind: str, name: object, known) -> InputError:
    """An `InputError` for a name that is not in the list, with the closest match and the list.

    >>> str(unknown("dataset", "mnsit", ["digits", "mnist"]))
    "unknown dataset 'mnsit'; did you mean 'mnist'? Known: digits, mnist"
    """
    from difflib import get_close_matches

    known = [str(k) for k in known]
    close = get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return InputError(f"unknown {kind} {name!r}{hint} Known: {', '.join(known)}")


def shown(value: object) -> str:
    """A value for a message, in part where it is long.

    >>> shown(0.5)
    '0.5'
    """
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:50]}… ({len(text):,} letters)"
