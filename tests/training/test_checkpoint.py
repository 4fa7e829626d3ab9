"""Checkpoints: a training that was cut off goes on and ends with the same digits; whatever is wrong with the files, it begins again."""

import pickle
import shutil

import pandas as pd
import pytest
import torch

from ncbook.data import patches
from ncbook.data.datasets import load
from ncbook.models.fixed_classifier import FixedClassifiers
from ncbook.models.networks import build_model
from ncbook.seeds import child_generator
from ncbook.theory import simplex
from ncbook.training import checkpoint as checkpoints
from ncbook.training import patch_descent
from ncbook.training.checkpoint import kept_in
from ncbook.training.loop import train
from ncbook.training.staged import history

EPOCHS, STOPS = 12, [0, 2, 7, 12]


class Killed(Exception):
    pass


def measure(*, stop_after: int | None = None, trained: list | None = None, **changes) -> pd.DataFrame:
    """An experiment: it measures at each stop, drawing from the generator of the batches as well; cut off after `stop_after` of them."""
    data = load("digits", train_size=100, seed=0)
    network = build_model("mlp", data.image_shape, 10, generator=child_generator(0, "weights"))  # it has batch norm
    generator = child_generator(0, "batches")
    settings = {"epochs": EPOCHS, "learning_rate": 0.05, "batch_size": 32, "measure_at": STOPS, "generator": generator, **changes}
    if trained is not None:
        network.register_forward_pre_hook(lambda module, _: trained.append(module.training))
    rows = []
    for state in train(network, data, **settings):
        weights = torch.cat([value.double().flatten() for value in network.state_dict().values()])
        rows.append({**vars(state), "weights": float(weights.sum()), "drawn": float(torch.rand((), generator=generator))})
        if len(rows) == stop_after:
            break
    return pd.DataFrame(rows)


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4])
def test_a_training_cut_off_anywhere_ends_with_the_same_digits(stop_after, tmp_path):
    undisturbed = measure()
    with kept_in(tmp_path):
        measure(stop_after=stop_after)
    seen = []
    with kept_in(tmp_path):
        resumed = measure(trained=seen)
    pd.testing.assert_frame_equal(resumed, undisturbed, check_exact=True)
    batches = 4  # of 100 images
    assert sum(seen) == batches * (EPOCHS - int(undisturbed.epoch[stop_after - 1]))  # nothing is trained twice


def test_between_measurements_it_keeps_a_checkpoint_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    undisturbed, seen = measure(measure_at=[12], loss="squared"), []

    def kill(module, _):
        seen.append(module.training)
        if sum(seen) == 4 * 9 + 2:  # in the tenth epoch
            raise Killed

    data = load("digits", train_size=100, seed=0)
    network = build_model("mlp", data.image_shape, 10, generator=child_generator(0, "weights"))
    network.register_forward_pre_hook(kill)
    same = {"epochs": EPOCHS, "learning_rate": 0.05, "batch_size": 32, "measure_at": [12], "loss": "squared"}
    with kept_in(tmp_path), pytest.raises(Killed):
        list(train(network, data, generator=child_generator(0, "batches"), **same))
    again = []
    with kept_in(tmp_path):
        resumed = measure(measure_at=[12], loss="squared", trained=again)
    pd.testing.assert_frame_equal(resumed, undisturbed, check_exact=True)
    assert sum(again) == 4 * 3  # epochs 10, 11 and 12


def test_two_trainings_of_one_run_keep_to_themselves(tmp_path):
    with kept_in(tmp_path):
        measure(), measure(stop_after=2, learning_rate=0.1)
    with kept_in(tmp_path):
        both = measure(), measure(learning_rate=0.1)
    pd.testing.assert_frame_equal(both[0], measure(), check_exact=True)
    pd.testing.assert_frame_equal(both[1], measure(learning_rate=0.1), check_exact=True)


def stack_errors(*, kill_in_step: int | None = None) -> tuple[torch.Tensor, int]:
    """Errors of four networks with fixed frames on two training sets, at epochs 3, 6, 9 and 12; and the steps that this call trained."""
    sets, steps = [load("digits", train_size=100, seed=seed) for seed in (0, 1)], 0

    def count(*_):
        nonlocal steps
        if steps == kill_in_step:
            raise Killed
        steps += 1

    frames = torch.tensor(simplex(10)).repeat(4, 1, 1)
    networks = FixedClassifiers("mlp:16", (1, 8, 8), frames, generator=child_generator(0, "weights"))
    networks.register_forward_pre_hook(count)
    settings = {"epochs": EPOCHS, "learning_rate": 0.1, "weight_decay": 1e-3, "batch_size": 25}
    generators = [child_generator(seed, "batches") for seed in (0, 1)]
    errors = history(networks, [d.train for d in sets], [d.test for d in sets], range(3, 13, 3), generators=generators, **settings)
    weights = torch.cat([value.double().flatten() for value in networks.state_dict().values()])
    return torch.cat([*(part.flatten() for part in errors), weights]), steps


@pytest.mark.parametrize(
    ("every", "lost"), [(300.0, 1), (0.0, 0)]
)  # seconds between checkpoints; epochs begun again, beside the one cut off
def test_networks_trained_together_go_on_with_the_same_digits(every, lost, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", every)
    undisturbed, steps = stack_errors()
    with kept_in(tmp_path), pytest.raises(Killed):
        stack_errors(kill_in_step=4 * 7 + 2)  # in epoch 8, of 4 steps
    with kept_in(tmp_path):
        resumed, again = stack_errors()
    assert torch.equal(resumed, undisturbed)
    assert (steps, again) == (4 * 12, 4 * (5 + lost))


def test_an_early_stop_is_not_overrun(tmp_path):
    stop = {"epochs": 100, "measure_at": [1, 100], "terminal_epochs": 3}
    with kept_in(tmp_path):
        first = measure(**stop)
    with kept_in(tmp_path):
        pd.testing.assert_frame_equal(measure(**stop), first, check_exact=True)
    assert first.epoch.iloc[-1] == first.terminal_epoch.iloc[-1] + 3


class Bomb:
    def __reduce__(self):
        return print, ("the checkpoint was executed",)


@pytest.mark.parametrize("name", ["latest.pt", "epoch-2.pt"])
@pytest.mark.parametrize("harm", ["truncated", "empty", "gone", "a pickle"])
def test_a_checkpoint_that_is_not_whole_is_not_used(name, harm, tmp_path, capsys):
    with kept_in(tmp_path):
        measure(stop_after=3)
    path = tmp_path / "0" / name
    match harm:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-500])
        case "empty":
            path.write_bytes(b"")
        case "gone":
            path.unlink()
        case "a pickle":
            path.write_bytes(pickle.dumps(Bomb()))
    with kept_in(tmp_path):
        pd.testing.assert_frame_equal(measure(), measure(), check_exact=True)
    assert "executed" not in capsys.readouterr().out


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory):
    """The folder of a run that was cut off at its third measurement, and what it ends with undisturbed."""
    place = tmp_path_factory.mktemp("cut") / "experiment" / "key"
    with kept_in(place):
        measure(stop_after=3)
    return place, measure()


@pytest.mark.parametrize("where", [0, 40, 0.3, 0.5, 0.7, -1])
def test_one_flipped_bit_begins_the_run_again(cut_off, where, tmp_path):
    source, undisturbed = cut_off
    files = sorted(path.relative_to(source) for path in source.rglob("*.pt"))
    assert len(files) == 4  # three measurements, and the latest state
    for number, file in enumerate(files):
        place = tmp_path / str(number) / "experiment" / "key"
        shutil.copytree(source, place)
        content = bytearray((place / file).read_bytes())
        content[int(where * len(content)) if isinstance(where, float) else where] ^= 64
        (place / file).write_bytes(content)
        seen = []
        with kept_in(place):
            pd.testing.assert_frame_equal(measure(trained=seen), undisturbed, check_exact=True)
        assert sum(seen) == 4 * EPOCHS, file  # from the start
        with kept_in(place):
            pd.testing.assert_frame_equal(measure(), undisturbed, check_exact=True)  # and whole again


def test_a_checkpoint_of_another_run_training_or_epoch_is_not_used(cut_off, tmp_path):
    source, undisturbed = cut_off
    places = {name: tmp_path / name / "experiment" / "key" for name in ("run", "training", "epoch")}
    with kept_in(tmp_path / "other" / "experiment" / "another key"):
        measure(stop_after=3, learning_rate=0.1)
        measure(stop_after=3, learning_rate=0.2)
    shutil.copytree(tmp_path / "other" / "experiment" / "another key", places["run"])
    with kept_in(places["training"]):
        measure(stop_after=1), measure(stop_after=3, learning_rate=0.1)
    shutil.rmtree(places["training"] / "0")
    (places["training"] / "1").rename(places["training"] / "0")
    shutil.copytree(source, places["epoch"])
    shutil.copy(places["epoch"] / "0" / "epoch-0.pt", places["epoch"] / "0" / "epoch-2.pt")
    for place in places.values():
        with kept_in(place):
            pd.testing.assert_frame_equal(measure(), undisturbed, check_exact=True)


def patches_descent(*, stop_after: int | None = None) -> tuple[list, int]:
    """What gradient descent on patches hands over at its steps 0, 10 and 40; and the steps that this call began."""
    options = {"patterns": 4, "dimension": 40, "samples": 8, "noises": [0.5, 2.0], "norm": 5.0, "background": 1, "seed": 0}
    first, found, begun = 0.01 * torch.randn(6, 40, generator=child_generator(0, "weights")), [], 0
    real = patch_descent.votes

    def counted(value):
        nonlocal begun
        begun += 1
        return real(value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patch_descent, "votes", counted)
        given = {"steps": 40, "learning_rate": 0.05, "power": 3, "threshold": 1.0, "measure_at": [0, 10, 40]}
        for step, filters, loss in patch_descent.descend(patches.draw(split="train", **options), first, **given):
            found.append((step, filters.clone(), loss.clone()))
            if len(found) == stop_after:
                break
    return found, begun


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize(("stop_after", "left"), [(1, 41), (2, 31), (3, 1)])
def test_descent_on_patches_goes_on_with_the_same_digits(stop_after, left, damaged, tmp_path):
    undisturbed, steps = patches_descent()
    with kept_in(tmp_path):
        patches_descent(stop_after=stop_after)
    if damaged:
        path = tmp_path / "0" / "latest.pt"
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    with kept_in(tmp_path):
        resumed, begun = patches_descent()
    assert [step for step, *_ in resumed] == [0, 10, 40]
    assert all(torch.equal(a, b) for one, two in zip(resumed, undisturbed, strict=True) for a, b in zip(one[1:], two[1:], strict=True))
    assert (steps, begun) == (41, 41 if damaged else left)


def test_descent_on_patches_keeps_one_between_measurements(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    undisturbed, _ = patches_descent()
    real, calls = checkpoints.Checkpoint.save, []

    def killed(self, state, **more):
        real(self, state, **more)
        calls.append(state["epoch"])
        if state["epoch"] == 25:
            raise Killed

    monkeypatch.setattr(checkpoints.Checkpoint, "save", killed)
    with kept_in(tmp_path), pytest.raises(Killed):
        patches_descent()
    monkeypatch.setattr(checkpoints.Checkpoint, "save", real)
    with kept_in(tmp_path):
        resumed, begun = patches_descent()
    assert begun == 16  # steps 25 to 40
    assert all(torch.equal(a[1], b[1]) and torch.equal(a[2], b[2]) for a, b in zip(resumed, undisturbed, strict=True))


def test_a_full_disk_ends_the_checkpoints_and_not_the_run(tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with kept_in(tmp_path):
        table = measure()
    pd.testing.assert_frame_equal(table, measure(), check_exact=True)
    assert not list(tmp_path.rglob("*.pt"))


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    measure()
    assert not list(tmp_path.iterdir())
