"""The generated part of the page of costs: what ``make bench`` measured, as ratios, and how it grows, as slopes on logarithmic axes.

``data/cost.json`` is the measurement, with its machine, versions and day. ``book/images/cost.svg`` is drawn from it when it is kept, so
that a build draws nothing; ``python -m ncbook.publish.cost`` draws it again.
"""

import json
from math import exp, log
from pathlib import Path
from statistics import linear_regression

from ncbook import paths
from ncbook.escape import markdown
from ncbook.runs.digest import digest


def measurement() -> Path:
    """Where the measurement is kept."""
    return paths.root() / "data" / "cost.json"


def picture() -> Path:
    """Where its picture is."""
    return paths.root() / "book" / "images" / "cost.svg"


def keep(found: dict) -> None:
    """Keep a measurement, with its picture."""
    measurement().write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(found)


def slope(growth: dict) -> float:
    """The slope of seconds over what they grow with, both logarithmic, by least squares.

    >>> round(slope({"at": [1, 10, 100], "seconds": [2, 20, 200]}), 12)
    1.0
    """
    return _line(growth).slope


def _line(growth: dict):
    return linear_regression([log(at) for at in growth["at"]], [log(seconds) for seconds in growth["seconds"]])


def page() -> str:
    """The measurement as Markdown."""
    try:
        found = json.loads(measurement().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "There is no measurement in this copy; `make bench` makes one.\n"
    versions = ", ".join(f"{markdown(name)} {markdown(version)}" for name, version in found["versions"].items())
    head = f"Measured on {markdown(found['when'])}: {markdown(found['machine'])}; {versions}. "
    head += f"Other programs took {found['load']:.1f} cores when it began.\n\n"
    of_slopes = "\nA slope of 1 is twice the time for twice as much. Where a fixed cost counts, at the small end, it is lower.\n"
    return head + _ratios(found["ratios"]) + "\n## How it grows\n\n" + _growth(found["growth"]) + of_slopes


def _ratios(rows: list[dict]) -> str:
    table = ["| what | takes | instead | ratio | goal |", "|---|--:|---|--:|---|"]
    for row in rows:
        cells = [markdown(row["what"]), _time(row["seconds"]), markdown(row["instead"]), f"{row['ratio']:.3g}", _goal(row)]
        table.append(f"| {' | '.join(cells)} |")
    return "\n".join(table) + "\n"


def _goal(row: dict) -> str:
    if row["goal"] is None:
        return "–"
    ((of, most),) = row["goal"].items()
    text = _time(most) if of == "seconds" else f"{most:.3g}"
    return f"≤ {text}: {'met' if row[of] <= most else 'not met'}"


def _time(seconds: float) -> str:
    return f"{seconds:,.{0 if seconds >= 100 else 1}f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _growth(growth: list[dict]) -> str:
    said = [f"{curve['over']} ({curve['what']}): {slope(curve):.2f}" for curve in growth]
    seen = "; ".join(said)
    caption = f"Time against what it grows with, both axes logarithmic, and the slope of a line through all points. {markdown(seen)}."
    alt = f"{len(growth)} line plots with logarithmic axes: seconds against {', '.join(curve['over'] for curve in growth)}. Slopes: {seen}."
    return f"```{{figure}} images/{picture().name}\n:name: cost-growth\n:alt: {' '.join(alt.split())}\n:width: 100%\n\n{caption}\n```\n"


def draw(found: dict) -> None:
    """Draw how cost grows; what it was drawn from stands in the file."""
    import matplotlib.pyplot as plt

    from ncbook.publish.figures.style import LOOKS, REFERENCE, panel_each

    figure, pairs = panel_each(found["growth"], columns=3, height=2.3)
    for axes, curve in pairs:
        at, line = curve["at"], _line(curve)
        axes.loglog(at, [exp(line.intercept) * value**line.slope for value in at], **REFERENCE)
        axes.loglog(at, curve["seconds"], **(LOOKS[0] | {"linestyle": "none"}))
        axes.set(title=f"slope {line.slope:.2f}", xlabel=curve["over"], ylabel="seconds")
    figure.savefig(picture(), metadata={"Date": None, "Description": digest(found["growth"])})
    plt.close(figure)


if __name__ == "__main__":
    draw(json.loads(measurement().read_text(encoding="utf-8")))
