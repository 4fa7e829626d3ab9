"""Figures: what `show` writes and displays, that it is reproducible, what it refuses, and what the bands draw."""

import json

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import pytest

matplotlib.use("Agg")

from ncbook.errors import InputError
from ncbook.publish import figures
from ncbook.publish.chapter_page import FIGURE_MIME, caption
from ncbook.publish.figures.show import kind


@pytest.fixture
def displayed(monkeypatch, tmp_path):
    """What a notebook would show, and the folder that it would leave figures in."""
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    return shown


@pytest.fixture
def table():
    rows = [(seed, epoch, split, 10.0 ** -(epoch + seed)) for seed in range(3) for epoch in (0, 1, 2) for split in ("train", "test")]
    return pd.DataFrame(rows, columns=["seed", "epoch", "split", "nc1"]).assign(terminal_epoch=1.0)


def draw(table):
    figure, axes = figures.panels(1, 2)
    for ax, (split, look) in zip(axes[0], figures.SPLITS.items(), strict=True):
        figures.band(ax, table[table.split == split], "epoch", "nc1", name=split, **look)
        figures.terminal_phase(ax, table)
    return figure


def test_show_leaves_svg_png_and_csv_and_displays_what_the_build_needs(displayed, table, tmp_path):
    figures.show(draw(table), "a-figure", what="NC1 against\n  epoch", finding="It falls.", table=table, folder=tmp_path / "figures")
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == [
        "a-figure.csv",
        "a-figure.panel.png",
        "a-figure.png",
        "a-figure.svg",
    ]
    whole, panel = (plt.imread(tmp_path / "figures" / f"a-figure{part}.png").shape[1] for part in ("", ".panel"))
    assert 0.3 * whole < panel < 0.7 * whole  # one of two panels
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "figures" / "a-figure.csv"), table)
    assert (tmp_path / "figures" / "a-figure.png").read_bytes().startswith(b"\x89PNG")
    (bundle,) = displayed
    what, finding = "NC1 against epoch.", "It falls."
    told = {"name": "a-figure", "what": what, "finding": finding, "alt": f"2 line plots. {what} {finding}"}
    assert bundle[FIGURE_MIME] == told

    cell = {"metadata": {}, "outputs": [{"data": json.loads(json.dumps(bundle))}]}
    assert caption(cell) == "a-figure" and FIGURE_MIME not in cell["outputs"][0]["data"]
    assert cell["metadata"]["mystnb"]["image"]["alt"] == told["alt"]
    assert cell["metadata"]["mystnb"]["figure"]["caption"] == "It falls\\. NC1 against epoch\\."  # the finding first


def test_a_finding_of_many_numbers_moves_below_the_figure_and_the_verdicts_take_its_place():
    many = "; ".join(f"{i}: 0.5" for i in range(9))
    output = {"data": {FIGURE_MIME: {"name": "x", "what": "V.", "finding": many, "alt": "a"}}}
    cell = {"metadata": {}, "outputs": [output]}
    judged = {"it-falls": {"verdict": "contradicted", "parts": [{"verdict": "supported"}, {"verdict": "contradicted"}]}}
    caption(cell, claims=[{"id": "it-falls", "statement": "It falls."}], judged=judged)
    assert (
        cell["metadata"]["mystnb"]["figure"]["caption"] == "It falls\\: contradicted\\: 1 of 2 settings supports it\\, and all must\\. V\\."
    )
    assert cell["metadata"]["numbers"] == many


def test_the_same_data_gives_the_same_bytes(displayed, table, tmp_path):
    for name in ("one", "two"):
        figures.show(draw(table), name, what="w", finding="f", table=table, folder=tmp_path / "figures")
    for suffix in ("svg", "png"):
        one, two = ((tmp_path / "figures" / f"{name}.{suffix}").read_bytes() for name in ("one", "two"))
        assert one == two


@pytest.mark.parametrize(
    "change", [{"name": "A figure"}, {"name": "../escape"}, {"name": ""}, {"what": " "}, {"finding": ""}, {"table": pd.DataFrame()}]
)
def test_a_figure_without_name_words_or_table_is_refused(displayed, table, tmp_path, change):
    given = {"name": "fine", "what": "w", "finding": "f", "table": table, "folder": tmp_path} | change
    with pytest.raises(InputError):
        figures.show(draw(table), given.pop("name"), **given)
    assert not list(tmp_path.rglob("*.svg")) and not displayed


def test_two_figures_in_one_cell_are_refused():
    output = {"data": {FIGURE_MIME: {"name": "x", "caption": "c", "alt": "a"}}}
    with pytest.raises(InputError, match="cell of its own"):
        caption({"metadata": {}, "outputs": [output, output]})


def test_a_band_draws_the_geometric_mean_and_range_of_the_seeds_at_epochs_they_share(table):
    extra = table[(table.seed == 0) & (table.epoch == 2)].assign(epoch=1.5, nc1=1e9)  # an epoch of one seed's own
    _, axes = figures.panels(1, 1)
    figures.band(axes[0][0], pd.concat([table, extra]).query("split == 'train'"), "epoch", "nc1")
    (line,) = axes[0][0].lines
    assert line.get_xdata().tolist() == [1, 2]  # 0 has no place on a log axis
    assert line.get_ydata().tolist() == pytest.approx([1e-2, 1e-3])
    band = axes[0][0].collections[0].get_paths()[0].get_extents()
    assert (band.ymin, band.ymax) == pytest.approx((1e-4, 1e-1))


def test_geometric_mean():
    table = pd.DataFrame({"a": ["x", "x", "y"], "v": [1.0, 100.0, 7.0]})
    assert figures.geometric_mean(table, "v", ["a"]).to_dict() == pytest.approx({"x": 10.0, "y": 7.0})


def test_facets_give_each_panel_its_own_rows():
    table = pd.DataFrame({"data": ["a", "a", "b"], "loss": ["l", "m", "m"], "v": [1, 2, 3]})
    _, pairs = figures.facets(table, rows=["data"], columns="loss")
    assert [(ax.get_title(), part.v.tolist()) for ax, part in pairs] == [("l", [1]), ("m", [2]), ("l", []), ("m", [3])]
    assert [ax.get_ylabel() for ax, _ in pairs] == ["a", "", "b", ""]
    _, pairs = figures.facets(table[table.data == "a"], rows=["data"], columns="loss", ylabel="V")
    assert [(ax.get_title(), ax.get_ylabel()) for ax, _ in pairs] == [("l", "V"), ("m", "")]  # there is one data set: no need to name it


def test_multiples_have_a_row_a_setting_and_a_column_a_quantity():
    table = pd.DataFrame({"data": ["a", "b"], "loss": ["l", "l"], "v": [1, 2], "w": [3, 4]})
    _, triples = figures.multiples(table, rows=["data", "loss"], columns={"v": "V", "w": "W"})
    assert [(ax.get_title(), ax.get_ylabel(), part[column].tolist()) for ax, part, column in triples] == [
        ("V", "a", [1]),
        ("W", "", [3]),
        ("", "b", [2]),
        ("", "", [4]),
    ]


def test_the_alt_text_says_what_kind_of_figure_it_is(table):
    figure, axes = figures.panels(1, 2)
    axes[0][0].plot([1], [2], marker="o", linestyle="none")
    axes[0][0].set_xlabel(r"$\Sigma_W\,$ of $d$")
    assert kind(figure) == "1 plot against Sigma W of d"
    figures.splits(axes[0][1], table, "epoch", "nc1")
    assert kind(figure) == "2 line plots"  # they have nothing in common
    _, axes = figures.panels(1, 1)
    _, drawn = figures.layer_map(axes[0][0], table.assign(depth=table.epoch + 1), "nc1")
    assert kind(axes[0][0].figure) == "1 map against epoch"
    assert drawn.shape == (3, 3) and drawn.loc[1, 0] == pytest.approx(-1) and drawn.loc[3].isna().tolist() == [True, True, False]


def test_intervals_are_drawn_from_the_top_and_controls_look_different():
    _, axes = figures.panels(1, 1)
    table = pd.DataFrame(
        {"arm": ["a", "b"], "estimate": [1.0, 2.0], "low": [0.5, 1.0], "high": [2.0, 3.0], "control": [False, True], "p": ["p = 1", ""]}
    )
    figures.intervals(axes[0][0], table, name="arm", note="p")
    lines = axes[0][0].lines
    assert [line.get_xdata().tolist() if hasattr(line.get_xdata(), "tolist") else list(line.get_xdata()) for line in lines] == [
        [0.5, 2.0],
        [1.0],
        [1.0, 3.0],
        [2.0],
    ]
    assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color()
    assert [text.get_text() for text in axes[0][0].get_yticklabels()] == ["a", "b"] and axes[0][0].get_ylim()[0] > axes[0][0].get_ylim()[1]


def test_told_names_what_there_are_several_of():
    table = pd.DataFrame({"v": [0.5, 0.25]}, index=pd.MultiIndex.from_tuples([("digits", "mlp"), ("mnist", "mlp")]))
    assert figures.told(table, "{v:.1f}") == "digits: 0.5; MNIST: 0.2"
    assert figures.told(table[:0], "{v}") == "none was measured"
