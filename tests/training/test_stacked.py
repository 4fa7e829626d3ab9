"""Networks trained as a stack: each as `train` trains it, to the rounding of float32, and to the last digit whoever goes with it."""

from functools import partial

import pytest
import torch
from torch import nn

from ncbook.data.datasets import load
from ncbook.models.linear_heads import linear_headed
from ncbook.models.networks import build_model
from ncbook.models.stacked import architecture
from ncbook.seeds import child_generator
from ncbook.training import checkpoint, stacked
from ncbook.training.checkpoint import kept_in
from ncbook.training.loop import train
from ncbook.training.stacked import in_lock_step, in_stacks

TOLERANCE = 2e-5  # of the largest entry of each parameter; a stack adds the same numbers in another order


def run(seed, *, model="mlp", build=build_model, dataset="digits", size=60, after=None, **changes):
    """A trained network and its states; `after` is called with the network at each."""
    data = load(dataset, train_size=size, seed=seed)
    network = build(model, data.image_shape, 10, generator=child_generator(seed, "weights"))
    settings = {"epochs": 4, "learning_rate": 0.05, "batch_size": 25, "weight_decay": 5e-3, **changes}
    states = []
    for state in train(network, data, generator=child_generator(seed, "batches"), **settings):
        states.append(state)
        if after:
            after(network, state)
    return network, states


@pytest.fixture
def sizes(monkeypatch):
    """The sizes of the stacks that were made, in order."""
    made, stack = [], stacked._Stack

    def counted(trainings):
        made.append(len(trainings))
        return stack(trainings)

    monkeypatch.setattr(stacked, "_Stack", counted)
    return made


def same(a, b):
    """Two networks agree to the last digit."""
    return all(torch.equal(mine, other) for mine, other in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def agree(calls):
    """What `in_lock_step` makes of the calls is what each makes without it."""
    for call, (network, states) in zip(calls, in_lock_step(calls), strict=True):
        its, expected = call()
        assert len(states) == len(expected)
        for mine, other in zip(states, expected, strict=True):
            assert (mine.epoch, mine.train_error, mine.terminal_epoch) == (other.epoch, other.train_error, other.terminal_epoch)
            assert mine.loss == pytest.approx(other.loss, rel=1e-5, nan_ok=True)
        for (name, mine), (_, other) in zip(network.state_dict().items(), its.state_dict().items(), strict=True):
            assert mine.dtype == other.dtype, name
            if mine.is_floating_point():
                torch.testing.assert_close(mine, other, rtol=0, atol=TOLERANCE * float(other.abs().max()), msg=name)
            else:
                assert torch.equal(mine, other), name
        assert network.training == its.training


headed = partial(linear_headed, linear_layers=2, nonlinear_layers=2, width=20)
NETWORKS = {
    "batch norm": {"model": "mlp"},
    "biases": {"model": "mlp_plain", "loss": "squared", "learning_rate": 0.3},
    "another activation": {"build": partial(build_model, depth=2, width=20, activation="gelu")},
    "linear layers": {"build": headed},
    "convolutions": {"model": "cnn", "epochs": 2},
    "a convolution without batch norm": {"model": "two_layer", "dataset": "mnist5k", "epochs": 2, "size": 50},
    "augmentation": {"model": "mlp", "augment": "crop"},
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_each_is_trained_as_without_a_stack(network, sizes):
    agree([partial(run, seed, **network) for seed in range(3)])
    assert sizes == [3]


# what ends amid a vector register: units, images a batch, classes
ODD = {
    "an odd number of units": {"build": partial(build_model, depth=2, width=21, activation="tanh")},
    "batch norm of as many": {"model": "mlp_deep", "batch_size": 23},
    "a smooth activation": {"build": partial(headed, activation="smooth_leaky", width=33)},
    "the squared loss": {"loss": "squared", "batch_size": 23},
    "deep convolutions": {"model": "cnn_deep", "epochs": 1, "batch_size": 7},
}


@pytest.mark.parametrize("network", {**NETWORKS, **ODD}.values(), ids={**NETWORKS, **ODD})
def test_digits_do_not_depend_on_who_goes_with_it(network):
    calls = [partial(run, seed, **network) for seed in range(5)]
    together = [network for network, _ in in_lock_step(calls)]
    alone = [in_lock_step([call])[0][0] for call in calls]
    others = [network for network, _ in in_lock_step([calls[4], calls[0], calls[2]])]
    assert all(same(a, b) for a, b in zip(together, alone, strict=True))
    assert all(same(together[k], b) for k, b in zip((4, 0, 2), others, strict=True))


def test_nor_on_how_the_others_are_trained_or_on_when_they_end():
    calls = [partial(run, 0), partial(run, 1, epochs=2, weight_decay=0.0), partial(run, 2, learning_rate=0.02, schedule="cosine")]
    for call, (network, states) in zip(calls, in_lock_step(calls), strict=True):
        [(its, expected)] = in_lock_step([call])
        assert same(network, its) and repr(states) == repr(expected)


def test_each_has_its_own_rate_schedule_decay_and_epochs():
    own = [
        {"weight_decay": 1e-2},
        {"weight_decay": 1e-3, "schedule": "cosine", "epochs": 3},
        {"learning_rate": 0.02, "schedule": "constant", "momentum": 0.5, "measure_at": [2, 5], "epochs": 5},
        {"weight_decay": 1e-2, "measure_at": [4]},
    ]
    agree([partial(run, seed, **settings) for seed, settings in enumerate(own)])


def test_each_stops_where_its_own_terminal_phase_begins_and_ends():
    calls = [partial(run, seed, size=50, epochs=30, measure_at=[30], terminal_epochs=after) for seed, after in enumerate([None, 0, 2, 5])]
    ends = [states[-1].epoch for _, states in in_lock_step(calls)]
    begins = [states[0].terminal_epoch for _, states in in_lock_step(calls)]
    assert ends == [30, *(begin + after for begin, after in zip(begins[1:], (0, 2, 5), strict=True))]
    assert len(set(begins)) > 1  # not all at once
    agree(calls)


def freeze(network, state):
    if state.epoch == 2:
        network.blocks["hidden1"].requires_grad_(False)


@torch.no_grad()
def halve(network, state):
    if state.epoch == 1:
        network.classifier.weight.mul_(0.5)


def test_what_an_experiment_does_to_a_network_counts():
    agree([partial(run, 0, after=freeze), partial(run, 1), partial(run, 2, after=halve)])


def test_a_network_that_diverges_fails_alone():
    with pytest.raises(FloatingPointError, match="the loss is (nan|inf) in epoch .*; a smaller learning rate than 1e.20 may help"):
        in_lock_step([partial(run, 0, learning_rate=1e20), partial(run, 1)])
    failures = []

    def kept(seed, **settings):
        try:
            return run(seed, model="mlp_plain", loss="squared", **settings)
        except FloatingPointError as error:
            failures.append(str(error))

    found = in_lock_step([partial(kept, 0), partial(kept, 1, learning_rate=1e20), partial(kept, 2)])
    assert len(failures) == 1 and found[1] is None
    agree_with = [run(seed, model="mlp_plain", loss="squared")[0] for seed in (0, 2)]
    for network, (mine, _) in zip(agree_with, (found[0], found[2]), strict=True):
        torch.testing.assert_close(mine.classifier.weight, network.classifier.weight, rtol=0, atol=TOLERANCE)


def test_an_experiment_may_raise_leave_its_loop_or_train_twice():
    def raises(network, state):
        if state.epoch == 2:
            raise LookupError("of its own")

    ended = []

    def counts(seed):
        run(seed)
        ended.append(seed)

    with pytest.raises(LookupError, match="of its own"):
        in_lock_step([partial(counts, 0), partial(run, 1, after=raises), partial(counts, 2)])
    assert ended == [0, 2]

    def leaves(seed):
        data = load("digits", train_size=60, seed=seed)
        network = build_model("mlp", data.image_shape, 10, generator=child_generator(seed, "weights"))
        settings = {"epochs": 4, "learning_rate": 0.05, "batch_size": 25, "generator": child_generator(seed, "batches")}
        for state in train(network, data, **settings):
            if state.epoch == 1:
                break
        return run(seed, epochs=2)

    agree([partial(leaves, seed) for seed in range(2)])


def test_what_is_not_alike_trains_apart_and_what_cannot_be_stacked_by_itself_to_the_last_digit(sizes):
    calls = [partial(run, 0), partial(run, 1), *[partial(run, seed, model="resnet_small", epochs=1) for seed in (2, 3)]]
    calls += [partial(run, seed, batch_size=30) for seed in (4, 5)] + [partial(run, 6, model="mlp_plain")]
    agree(calls)
    assert sizes == [2, 2, 1]
    assert all(same(mine, call()[0]) for (mine, _), call in zip(in_lock_step(calls[2:4]), calls[2:4], strict=True))


def test_a_marked_experiment_trains_as_a_stack_of_its_own(sizes, monkeypatch):
    marked = in_stacks(4)(run)
    assert marked.stack == 4
    network, _ = marked(seed=0)
    assert sizes == [1] and same(network, in_lock_step([partial(run, 0)])[0][0])
    in_lock_step([partial(marked, seed=seed) for seed in range(2)])
    assert sizes == [1, 1, 2]
    with pytest.raises(TypeError, match="device"):
        marked(seed=0, device="cuda")  # the experiment itself is called, which has none
    assert len(sizes) == 3
    monkeypatch.setattr(stacked, "ranks", lambda: 2)
    assert same(marked(seed=0)[0], run(0)[0]) and len(sizes) == 3


class Killed(Exception):
    pass


@pytest.mark.parametrize("every", [0, 1e9], ids=["each epoch", "each measurement"])
def test_one_that_was_killed_goes_on_from_its_checkpoint_to_the_same_digits(tmp_path, monkeypatch, every):
    monkeypatch.setattr(checkpoint, "EVERY", every)
    settings = {"epochs": 9, "measure_at": [0, 1, 4, 9], "terminal_epochs": 4}
    whole, expected = in_lock_step([partial(run, 0, **settings)])[0]

    def dies(network, state):
        if state.epoch == 4:
            raise Killed

    def kept(seed, after=None):
        with kept_in(tmp_path / str(seed)):
            return run(seed, after=after, **settings)

    with pytest.raises(Killed):
        in_lock_step([partial(kept, 0, dies), partial(kept, 1, dies)])
    trained, split = [], stacked.Split.batches
    monkeypatch.setattr(stacked.Split, "batches", lambda *args, **named: trained.append(named) or split(*args, **named))
    network, states = in_lock_step([partial(kept, 0)])[0]
    assert same(network, whole) and repr(states) == repr(expected)
    assert sum("generator" in named for named in trained) == expected[-1].epoch - 4  # nothing is trained twice


def test_networks_are_alike_when_all_options_of_their_layers_are():
    def network(*layers):
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), *layers)

    assert architecture(network(nn.LeakyReLU(0.1))) == architecture(network(nn.LeakyReLU(0.1)))
    assert architecture(network(nn.LeakyReLU(0.1))) != architecture(network(nn.LeakyReLU(0.2)))
    assert architecture(network(nn.BatchNorm1d(3, eps=1e-3))) != architecture(network(nn.BatchNorm1d(3)))
    assert architecture(network(nn.Dropout())) is None  # it draws at random
    assert architecture(network(nn.BatchNorm1d(3, momentum=None))) is None
    assert architecture(network().double()) is None
    hooked = network()
    hooked[1].register_forward_hook(lambda *_: None)
    assert architecture(hooked) is None
    tied = network(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[3].weight = tied[2].weight
    assert architecture(tied) is None


def test_a_last_batch_of_one_image_is_refused_with_batch_norm_as_it_is_alone():
    for trained in (partial(run, 0, batch_size=59), lambda: in_lock_step([partial(run, seed, batch_size=59) for seed in range(2)])):
        with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
            trained()


def test_an_unknown_loss_is_refused_as_ever():
    with pytest.raises(Exception, match="loss"):
        in_lock_step([partial(run, 0, loss="hinge")])
