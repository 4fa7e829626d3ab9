"""Interactive twins: the table in the page, a control for each thing that can be chosen, and nothing in it that could end the element."""

import io
import json
import re

import numpy as np
import pandas as pd
import pytest

from ncbook.errors import InputError
from ncbook.publish import chapter_page, figures

TABLE = pd.DataFrame(
    [
        (dataset, "mlp", loss, seed, layers, epoch, epoch + seed + 0.123456)
        for dataset, loss in (("mnist", "squared"), ("cifar10", "cross_entropy"))
        for seed in (0, 1)
        for layers in (6, 1)
        for epoch in (0, 2)
    ],
    columns=["dataset", "model", "loss", "seed", "linear_layers", "epoch", "variance_ratio"],
).assign(nc1=lambda table: -table.variance_ratio)


def lines(table: pd.DataFrame = TABLE, **given) -> dict:
    return figures.chart(
        table, **{"x": "epoch", "y": {"V": "variance_ratio"}, "colour": "loss", "choose": {"data": ["dataset", "model"]}} | given
    )


def rows_of(spec: dict) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(spec["data"]["values"]))


def controls(spec: dict) -> dict:
    return {param["bind"]["name"]: param for param in spec["params"]}


def test_the_rows_of_the_table_are_in_the_chart():
    rows = rows_of(lines())
    assert rows["x"].tolist() == TABLE["epoch"].tolist() and rows["seed"].tolist() == TABLE["seed"].tolist()
    assert rows["y0"].tolist() == pytest.approx(TABLE["variance_ratio"].tolist(), rel=5e-4)
    assert set(rows["series"]) == {"squared loss", "cross-entropy"} and set(rows["choice0"]) == {"MNIST, MLP", "CIFAR-10, MLP"}


def test_there_is_a_control_for_what_has_several_values():
    found = controls(
        lines(
            choose={"data": ["dataset", "model"], "network": "model"},
            slide={"layers": "linear_layers"},
            y={"V": "variance_ratio", "1": "nc1"},
        )
    )
    assert list(found) == ["data", "layers", "seed", "measure"]
    names = ["MNIST, MLP", "CIFAR-10, MLP"]
    assert found["data"]["bind"] == {"input": "radio", "options": names, "labels": names, "name": "data"}
    assert (found["layers"]["bind"]["input"], found["layers"]["bind"]["max"]) == ("range", 1)
    assert found["seed"]["bind"]["options"][1:] == [0, 1] and found["measure"]["bind"]["options"] == ["V", "1"]
    assert list(controls(lines(TABLE[(TABLE.seed == 1) & (TABLE.loss == "squared")]))) == []


def test_a_slider_goes_through_the_values_in_order_and_says_them():
    spec = lines(slide={"layers": "linear_layers"})
    assert spec["usermeta"]["sliders"] == {"choice1": ["1", "6"]}
    assert rows_of(spec)["choice1"].tolist() == [int(n == 6) for n in TABLE["linear_layers"]]
    assert spec["encoding"]["y"]["scale"] == {"type": "log", "nice": False, "domain": [0.1235, 3.123]}  # the same at each of its places


def test_a_value_does_not_say_the_name_of_its_control_again():
    table = TABLE.assign(statistics=TABLE.seed.map({0: "100 images", 1: "running averages"}))
    bind = controls(lines(table, choose={"batch norm by": "statistics"}))["batch norm by"]["bind"]
    assert bind["labels"] == ["100 images", "running averages"]
    assert bind["options"] == rows_of(lines(table, choose={"batch norm by": "statistics"}))["choice0"].unique().tolist()


def test_a_small_number_is_written_as_in_the_text():
    table = TABLE.assign(weight_decay=TABLE.seed.map({0: 1e-5, 1: 2.5e-7}))
    assert controls(lines(table, choose={"w": "weight_decay"}))["w"]["bind"]["options"] == [
        "weight decay 10⁻⁵",
        "weight decay 2.5\u00a0×\u00a010⁻⁷",
    ]
    assert lines(table, slide={"w": "weight_decay"})["usermeta"]["sliders"]["choice1"] == ["2.5\u00a0×\u00a010⁻⁷", "10⁻⁵"]
    of_law = figures.line_chart(table, x="weight_decay", y={"V": "variance_ratio"}, colour="loss", choose={})
    assert of_law["usermeta"]["sliders"]["first"] == ["2.5\u00a0×\u00a010⁻⁷", "10⁻⁵"]


def test_lines_are_drawn_along_a_column_up_to_the_place_of_a_slider():
    spec = lines(x="nc1", choose={}, along={"up to epoch": "epoch"}, log="", falling=True)
    slider = controls(spec)["up to epoch"]
    assert (slider["value"], slider["bind"]["max"]) == (1, 1)  # all of it at first
    assert f"datum.{slider['name']} <= {slider['name']}" in [step.get("filter") for step in spec["transform"]]
    assert spec["encoding"]["order"] == {"field": "along"} and rows_of(spec)["along"].tolist() == TABLE["epoch"].tolist()
    ends = [float(f"{end:.4g}") for end in (TABLE.nc1.min(), TABLE.nc1.max())]
    assert spec["encoding"]["x"]["scale"] == {"zero": False, "domain": ends, "reverse": True}
    assert spec["encoding"]["y"]["scale"]["domain"] == [0.1235, 3.123]  # neither scale moves
    assert "order" not in lines()["encoding"] and "domain" not in lines()["encoding"]["x"]["scale"]


def test_the_verdicts_of_what_is_chosen_stand_below():
    verdicts = pd.DataFrame(
        [
            ("mnist", "mlp", "squared", "It falls.", "0.1", "✔ supported", ""),
            ("mnist", "mlp", "cross_entropy", "It falls.", "0.9", "✘ contradicted; as declared, supported", "squared loss"),
        ],
        columns=["dataset", "model", "loss", "claim", "estimate", "verdict", "instead_of"],
        index=[0, 0],  # as of tables put one below the other
    )
    told = lines(choose={"data": ["dataset", "model"], "fit": "loss"}, verdicts=verdicts)["usermeta"]["verdicts"]
    assert told == [
        {"when": {"data": "MNIST, MLP", "fit": "squared loss"}, "instead_of": "", "rows": [["It falls.", "0.1", "✔ supported"]]},
        {
            "when": {"data": "MNIST, MLP", "fit": "cross-entropy"},
            "instead_of": "squared loss",
            "rows": [["It falls.", "0.9", "✘ contradicted; as declared, supported"]],
        },
    ]
    assert "verdicts" not in lines()["usermeta"]


def test_a_long_list_is_a_menu():
    many = pd.concat([TABLE.assign(dataset=f"folder:{number}") for number in range(4)])
    assert controls(lines(many))["data"]["bind"]["input"] == "select"


def test_a_chart_says_what_it_shows_and_has_no_half_layers():
    table = TABLE.rename(columns={"linear_layers": "depth"})
    spec = lines(table, x="depth", log="y")
    axis = spec["encoding"]["x"]["axis"]
    assert spec["description"] == "Lines of V against layer: squared loss, cross-entropy."
    assert (axis["title"], axis["tickMinStep"]) == ("layer", 1)
    assert "layer" in [told["title"] for told in spec["encoding"]["tooltip"]]
    for spec in (lines(table.assign(depth=table.depth / 4), x="depth", log="y"), lines(table, x="depth")):  # no whole numbers; log axes
        assert "tickMinStep" not in spec["encoding"]["x"]["axis"]
    of_map = figures.map_chart(table[table.seed == 0], x="epoch", y="depth", value={"V": "variance_ratio"}, choose={})
    assert of_map["description"] == "A map of V: epoch across and layer down."
    assert figures.sphere_chart(np.eye(3))["description"].startswith("The code of 3 classes")


@pytest.mark.parametrize(("log", "dropped"), [("xy", ["x", "y"]), ("x", ["x"]), ("", [])])
def test_what_has_no_place_on_a_logarithmic_axis_is_not_drawn(log, dropped):
    spec = lines(log=log)
    assert spec["transform"][-1]["filter"] == " && ".join(["isValid(datum.y)", *(f"datum.{axis} > 0" for axis in dropped)])
    assert [axis for axis in "xy" if spec["encoding"][axis]["scale"].get("type") == "log"] == dropped
    assert [axis for axis in "xy" if "tickCount" in spec["encoding"][axis]["axis"]] == dropped  # powers of ten


def test_a_map_has_a_cell_a_row():
    table = TABLE[TABLE.seed == 0]
    spec = figures.map_chart(table, x="epoch", y="linear_layers", value={"V": "variance_ratio"}, choose={"data": "dataset"})
    assert (
        spec["mark"] == "rect" and rows_of(spec)[["x", "down"]].to_numpy().tolist() == table[["epoch", "linear_layers"]].to_numpy().tolist()
    )
    assert spec["encoding"]["y"]["axis"]["title"] == "linear layers"


def test_a_law_has_a_range_of_places_and_all_of_them_at_first():
    spec = figures.line_chart(TABLE, x="epoch", y={"V": "variance_ratio"}, colour="loss", choose={"layers": "linear_layers"})
    assert {name: param["value"] for name, param in controls(spec).items() if "epoch" in name} == {
        "first epoch of the line": 0,
        "last epoch of the line": 1,
    }
    assert spec["usermeta"]["sliders"] == {"first": ["0", "2"], "last": ["0", "2"]}
    assert {"x", "series", "y0"} <= set(rows_of(spec)) and len(rows_of(spec)) == len(TABLE)
    fits = [step["regression"] for layer in spec["layer"] for step in layer.get("transform", []) if "regression" in step]
    assert fits == ["decades", "decades"]  # the line, and what is said of it


def test_an_empty_table_is_refused():
    with pytest.raises(InputError, match="its table is empty"):
        lines(TABLE.iloc[:0])


def test_classes_are_where_their_assignment_puts_them():
    table = pd.DataFrame({"assignment": ["0 1 2 3", "1 3 0 2"], "accuracy": [50.0, 60.0], "frame": [0, 1]})
    spec = figures.circle_chart(table, assignment="assignment", value={"% right": "accuracy"}, choose={}, slide={"frame": "frame"})
    rows = rows_of(spec).set_index(["choice0", "number"])
    assert len(rows) == 8
    np.testing.assert_allclose(rows.loc[(1, 0), ["x", "up"]].tolist(), [0, 1], atol=1e-9)
    np.testing.assert_allclose(rows.loc[(1, 1), ["x", "up"]].tolist(), [0, -1], atol=1e-9)
    assert rows.loc[1, "y0"].unique().tolist() == [60.0]


def test_the_points_of_a_code_and_its_closest_pairs():
    spec = figures.sphere_chart(np.vstack([np.eye(3), -np.eye(3)[:1]]))
    edges, corners, _ = (layer["data"]["values"] for layer in spec["layer"])
    assert [corner["number"] for corner in corners] == ["0", "1", "2", "3"] and corners[3] == {"number": "3", "x": -1, "y": 0, "z": 0}
    assert len(edges) == 2 * 5  # all but the opposite pair


# --- on the page ------------------------------------------------------------------------------------------------------------------------


def shown(monkeypatch, spec: dict, **given) -> dict:
    bundles = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: bundles.append(bundle))
    figures.interactive(spec, "a-figure", **given)
    return bundles[0]


def test_no_name_ends_the_element_or_the_words(monkeypatch):
    spec = lines(TABLE.replace({"dataset": {"mnist": "folder:</script><b>'\""}}))
    bundle = shown(monkeypatch, spec, what='Choose <data> & "loss".')
    markup = bundle["text/html"]
    assert markup.count("</script>") == 1 and "<b>'" not in markup and "Choose &lt;data&gt; &amp; &quot;loss&quot;." in markup
    assert json.loads(re.search(r'<script type="application/json">(.*)</script>', markup)[1]) == spec
    assert " hidden><p>" in markup and bundle["text/plain"] == 'Choose <data> & "loss".'


def test_a_twin_stands_below_the_figure_that_it_is_a_twin_of(monkeypatch):
    bundle = shown(monkeypatch, lines(), what="Choose.")
    cell = {"cell_type": "code", "metadata": {}, "source": "", "outputs": [{"output_type": "display_data", "data": bundle}]}
    assert chapter_page._twin(cell) == "a-figure" and set(bundle) == {"text/html", "text/plain"}
    assert chapter_page._twin(cell) is None and chapter_page._twin({"cell_type": "markdown"}) is None
