"""Saved features and checkpoints: mapped, in half precision, and nothing unpickled; and the page that shows them, run."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ncbook.errors import InputError
from ncbook.metrics import collapse_table, load_checkpoint, load_features

Y = np.arange(60) % 3
H = (np.random.default_rng(0).normal(size=(60, 4)) + 3 * np.eye(3, 4)[Y]).astype(np.float16)


def save(kind, folder):
    if kind == "folder":
        np.save(folder / "features.npy", H), np.save(folder / "labels.npy", Y)
        return folder
    if kind == "pt":
        torch.save({"features": torch.tensor(H), "labels": torch.tensor(Y)}, folder / "saved.pt")
        return folder / "saved.pt"
    {"npz": np.savez, "compressed": np.savez_compressed}[kind](folder / "saved.npz", features=H, labels=Y, other=1)
    return folder / "saved.npz"


@pytest.mark.parametrize("kind", ["folder", "npz", "compressed", "pt"])
def test_what_was_saved_is_measured(kind, tmp_path):
    found = load_features(save(kind, tmp_path))
    assert isinstance(found[0], np.memmap) == (kind in ("folder", "npz")) and str(found[0].dtype).endswith("float16")
    assert collapse_table(found).equals(collapse_table((H.astype(np.float32), Y)))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda f: f / "nothing.npz", "cannot be read"),
        (lambda f: f / "nothing.txt", "neither a folder"),
        (lambda f: f, "holds no features and no labels"),
        (lambda f: np.savez(f / "a.npz", features=H) or f / "a.npz", "holds no labels"),
        (lambda f: np.savez(f / "a.npz", features=np.array([None]), labels=Y) or f / "a.npz", "objects|pickle"),
        (lambda f: (f / "a.npz").write_bytes(b"not a zip") and f / "a.npz", "cannot be read"),
        (lambda f: (f / "a.pt").write_bytes(pickle.dumps(Path("x"))) and f / "a.pt", "nothing else is unpickled"),
    ],
)
def test_files_that_cannot_be_read(make, says, tmp_path):
    with pytest.raises(InputError, match=says) as caught:
        load_features(make(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": {f"module.{name}": value for name, value in s.items()}},
        lambda s: {"state_dict": {f"model._orig_mod.{name}": value for name, value in s.items()}},
    ],
)
def test_checkpoints(wrap, tmp_path):
    torch.manual_seed(0)
    trained = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    torch.save(wrap(trained.state_dict()), tmp_path / "c.pt")
    torch.manual_seed(1)
    model = load_checkpoint(nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)), tmp_path / "c.pt")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), trained.state_dict().values(), strict=True))


def test_checkpoints_of_other_networks(tmp_path):
    torch.save(nn.Linear(4, 3).state_dict(), tmp_path / "c.pt")
    for model, says in ((nn.Linear(5, 3), r"shape \(3, 4\), in the network \(3, 5\)"), (nn.Sequential(nn.Linear(4, 3)), "lacks 2 of the")):
        with pytest.raises(InputError, match=says):
            load_checkpoint(model, tmp_path / "c.pt")
    torch.save(nn.Linear(4, 3), tmp_path / "whole.pt")
    with pytest.raises(InputError, match="nothing else is unpickled"):
        load_checkpoint(nn.Linear(4, 3), tmp_path / "whole.pt")
    with pytest.raises(InputError) as caught:
        load_checkpoint(nn.Linear(4, 3), tmp_path / "whole.pt")
    assert str(caught.value).isprintable()
    for garbage in (b"abc", b"", b"\x80\x02.", b"ab"):  # an IndexError
        (tmp_path / "garbage.pt").write_bytes(garbage)
        with pytest.raises(InputError, match="nothing else is unpickled"):
            load_checkpoint(nn.Linear(4, 3), tmp_path / "garbage.pt")
    with pytest.raises(InputError, match="cannot be read"):
        load_checkpoint(nn.Linear(4, 3), tmp_path / "none.pt")


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    """The code of "Measure your network", block after block, in an empty folder."""
    page = Path(__file__).parents[2] / "book" / "measure.md"
    code = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code) >= 5
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in code:
        exec(compile(block, str(page), "exec"), names)  # noqa: S102
    table, again = names["table"], names["measure"](names["again"], names["train"])
    assert names["saved"]["nc1"].notna().all() and again["nc1"][0] == table["nc1"][0]
    assert names["values"]["nc1"] == pytest.approx(table["nc1"][0], rel=1e-4)
    assert "collapse/train/nc1" in capsys.readouterr().out
    shown = table[["nc1", "variance_ratio", "nc3_self_duality", "error"]].to_numpy()
    for path in (page, page.parents[1] / "README.md"):  # print these numbers; another processor's differ a little
        printed = re.findall(r"(?:train|test)((?: +[0-9.]+){4})\n", path.read_text(encoding="utf-8"))
        assert np.array([row.split() for row in printed], float) == pytest.approx(shown, rel=0.03), path
