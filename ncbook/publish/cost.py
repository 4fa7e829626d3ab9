"""The generated part of the page of costs: what ``make bench`` measured, as ratios, and how it grows, as slopes on logarithmic axes.

``data/cost.json`` is the measurement, with its machine, versions and day. Its two pictures are drawn from it when it is kept, so that a
build draws nothing; ``python -m ncbook.publish.cost`` draws them again.
"""

import json
from math import exp, log
from pathlib import Path
from statistics import linear_regression
from textwrap import wrap

from ncbook import paths
from ncbook.escape import markdown
from ncbook.runs.digest import digest


def measurement() -> Path:
    """Where the measurement is kept."""
    return paths.root() / "data" / "cost.json"


def picture(of: str) -> Path:
    """Where the picture of its ``ratios`` or of its ``growth`` is."""
    return paths.root() / "book" / "images" / f"cost-{of}.svg"


def keep(found: dict) -> None:
    """Keep a measurement, with its pictures."""
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
    worst = max(rows, key=lambda row: row["ratio"])
    least = min(rows, key=lambda row: row["ratio"])
    seen = f"From {least['ratio']:.2g} ({least['what']}, over {least['instead']}) to {worst['ratio']:.2g} ({worst['what']}, over "
    seen += f"{worst['instead']})."
    drawn = (
        "Time over that of what one would do instead, on a logarithmic axis: left of the line it takes less. A bar is what was aimed at."
    )
    figure = _figure("ratios", f"{seen} {drawn}", f"One plot of {len(rows)} ratios with a logarithmic axis. {seen}")
    return f"{figure}\n````{{dropdown}} In numbers\n{_table(rows)}````\n"


def _table(rows: list[dict]) -> str:
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
    drawn = "Time against what it grows with, both axes logarithmic, and the slope of a line through all points."
    alt = f"{len(growth)} line plots with logarithmic axes: seconds against {', '.join(curve['over'] for curve in growth)}. Slopes: {seen}."
    return _figure("growth", f"Slopes: {seen}. {drawn}", alt)


def _figure(of: str, caption: str, alt: str) -> str:
    options = f":name: cost-{of}\n:alt: {' '.join(alt.split())}\n:width: 100%"
    return f"```{{figure}} images/{picture(of).name}\n{options}\n\n{markdown(caption)}\n```\n"


def draw(found: dict) -> None:
    """Draw the ratios, and how cost grows; what each was drawn from stands in its file."""
    import matplotlib.pyplot as plt

    for of, drawn in (("ratios", _draw_ratios), ("growth", _draw_growth)):
        figure = drawn(found[of])
        figure.savefig(picture(of), metadata={"Date": None, "Description": digest(found[of])})
        plt.close(figure)


def _draw_ratios(rows: list[dict]):
    from ncbook.publish.figures.style import LOOKS, REFERENCE, legend_below, panels, plain_log

    place = {what: -number for number, what in enumerate(dict.fromkeys(row["what"] for row in rows))}
    figure, ((axes,),) = panels(1, 1, height=0.3 * len(place) + 1.4)
    axes.axvline(1, **REFERENCE)
    for number, instead in enumerate(dict.fromkeys(row["instead"] for row in rows)):
        look = LOOKS[number % len(LOOKS)] | {"linestyle": "none", "fillstyle": "full" if number < len(LOOKS) else "none"}
        those = [row for row in rows if row["instead"] == instead]
        axes.plot([row["ratio"] for row in those], [place[row["what"]] for row in those], label=instead, **look | {"markersize": 6})
    goals = [(row["goal"]["ratio"], place[row["what"]]) for row in rows if "ratio" in (row["goal"] or ())]
    if goals:
        axes.scatter(*zip(*goals, strict=True), marker="|", s=90, color=REFERENCE["color"], label="aimed at")
    plain_log(axes.xaxis)
    axes.set_yticks(list(place.values()), ["\n".join(wrap(what.replace(" = ", "\u00a0=\u00a0"), 46)) for what in place], fontsize=7.5)
    axes.set(xlabel="time over that of what one would do instead", ylim=(min(place.values()) - 0.6, 0.6))
    legend_below(figure, axes, ncols=2, fontsize=7.5)
    return figure


def _draw_growth(growth: list[dict]):
    from ncbook.publish.figures.style import LOOKS, REFERENCE, panel_each, plain_log

    figure, pairs = panel_each(growth, columns=3, height=2.3)
    for axes, curve in pairs:
        at, line = curve["at"], _line(curve)
        axes.plot(at, [exp(line.intercept) * value**line.slope for value in at], **REFERENCE)
        axes.plot(at, curve["seconds"], **(LOOKS[0] | {"linestyle": "none"}))
        for axis, values in ((axes.xaxis, at), (axes.yaxis, curve["seconds"])):
            plain_log(axis, ticks=(1, 3) if max(values) < 50 * min(values) else (1,))
        axes.set(title=f"slope {line.slope:.2f}", xlabel=curve["over"], ylabel="seconds")
    return figure


if __name__ == "__main__":
    draw(json.loads(measurement().read_text(encoding="utf-8")))
