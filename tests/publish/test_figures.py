"""Figures: what `show` writes and displays, that it is reproducible, what it refuses, and what the bands draw."""

import json

import matplotlib
import pandas as pd
import pytest

matplotlib.use("Agg")

from ncbook.errors import InputError
from ncbook.publish import figures
from ncbook.publish.render import FIGURE_MIME, _caption


@pytest.fixture
def displayed(monkeypatch, tmp_path):
    """What a notebook would show, and the folder that it would leave figures in."""
    shown = []
    monkeypatch.setenv("NCBOOK_OUTPUT", str(tmp_path))
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
    figures.show(draw(table), "a-figure", caption="It  falls.\n", alt="Two lines that fall.", table=table)
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == ["a-figure.csv", "a-figure.png", "a-figure.svg"]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "figures" / "a-figure.csv"), table)
    assert (tmp_path / "figures" / "a-figure.png").read_bytes().startswith(b"\x89PNG")
    (bundle,) = displayed
    assert bundle[FIGURE_MIME] == {"name": "a-figure", "caption": "It falls.", "alt": "Two lines that fall."}

    cell = {"metadata": {}, "outputs": [{"data": json.loads(json.dumps(bundle))}]}
    assert _caption(cell) == "a-figure" and FIGURE_MIME not in cell["outputs"][0]["data"]
    assert cell["metadata"]["mystnb"]["image"]["alt"] == "Two lines that fall."
    assert cell["metadata"]["mystnb"]["figure"]["caption"].startswith("It falls\\. ({download}") and "a-figure.csv" in str(cell["metadata"])


def test_the_same_data_gives_the_same_bytes(displayed, table, tmp_path):
    for name in ("one", "two"):
        figures.show(draw(table), name, caption="c", alt="a", table=table)
    for kind in ("svg", "png"):
        one, two = ((tmp_path / "figures" / f"{name}.{kind}").read_bytes() for name in ("one", "two"))
        assert one == two


@pytest.mark.parametrize(
    "change", [{"name": "A figure"}, {"name": "../escape"}, {"name": ""}, {"caption": " "}, {"alt": ""}, {"table": pd.DataFrame()}]
)
def test_a_figure_without_name_caption_alt_or_table_is_refused(displayed, table, tmp_path, change):
    given = {"name": "fine", "caption": "c", "alt": "a", "table": table} | change
    with pytest.raises(InputError):
        figures.show(draw(table), given.pop("name"), **given)
    assert not list(tmp_path.rglob("*.svg")) and not displayed


def test_two_figures_in_one_cell_are_refused():
    output = {"data": {FIGURE_MIME: {"name": "x", "caption": "c", "alt": "a"}}}
    with pytest.raises(InputError, match="cell of its own"):
        _caption({"metadata": {}, "outputs": [output, output]})


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
    assert [(ax.get_title(), part.v.tolist()) for ax, part in pairs] == [("l, a", [1]), ("m, a", [2]), ("l, b", []), ("m, b", [3])]
