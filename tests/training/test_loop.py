"""The training loop: against an SGD written out by hand, its stops, its schedules, and what it refuses."""

import math

import pytest
import torch

from ncbook.data.datasets import load
from ncbook.errors import InputError
from ncbook.models.networks import build_model
from ncbook.seeds import child_generator
from ncbook.training.evaluate import error, extract
from ncbook.training.loop import SCHEDULES, measurement_epochs, squared_loss, train


@pytest.fixture(scope="module")
def digits():
    return load("digits", train_size=100, seed=0)


def network(seed=0, model="mlp"):
    return build_model(model, (1, 8, 8), 10, generator=child_generator(seed, "weights"))


def settings(**changes):
    return {"epochs": 4, "learning_rate": 0.05, "batch_size": 32, "generator": child_generator(0, "batches"), **changes}


def test_it_is_sgd_with_momentum_and_weight_decay_written_out_by_hand(digits):
    model, mine = network(model="mlp_plain"), network(model="mlp_plain")
    list(train(model, digits, loss="squared", schedule="step", weight_decay=1e-2, **settings(learning_rate=0.3, epochs=6)))

    velocity, generator = [torch.zeros_like(p) for p in mine.parameters()], child_generator(0, "batches")
    for epoch in range(6):
        rate = 0.3 * (1, 1, 0.1, 0.1, 0.01, 0.01)[epoch]
        for x, y in digits.train.batches(32, generator=generator):
            loss = ((mine(x) - torch.eye(10)[y]) ** 2).sum() / (len(y) * 10)
            gradients = torch.autograd.grad(loss, list(mine.parameters()))
            with torch.no_grad():
                for p, v, g in zip(mine.parameters(), velocity, gradients, strict=True):
                    v.mul_(0.9).add_(g + 1e-2 * p)
                    p.sub_(rate * v)
    for a, b in zip(model.parameters(), mine.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_the_same_seed_gives_the_same_weights_bit_for_bit(digits):
    models = [network(), network()]
    for model in models:
        list(train(model, digits, **settings()))
    assert all(torch.equal(a, b) for a, b in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True))


def test_it_stops_where_asked_and_where_the_terminal_phase_begins(digits):
    model = network()
    states = [(s, model.training, error(model, digits.train)) for s in train(model, digits, **settings(epochs=30, measure_at=[0, 2, 30]))]
    begins = states[-1][0].terminal_epoch
    assert [s.epoch for s, _, _ in states] == sorted({0, 2, begins, 30})
    assert not any(training for _, training, _ in states)
    for state, _, measured in states:
        if state.terminal_epoch is None:
            assert state.train_error == measured > 0
    assert next(s for s, _, _ in states if s.epoch == begins).train_error == 0
    assert math.isnan(states[0][0].loss) and all(math.isfinite(s.loss) for s, _, _ in states[1:])


def test_between_measurements_the_terminal_phase_is_found_as_by_measuring_every_epoch(digits):
    often = list(train(network(), digits, **settings(epochs=30, measure_at=list(range(31)))))
    seldom = list(train(network(), digits, **settings(epochs=30, measure_at=[30])))
    assert seldom[-1].terminal_epoch == often[-1].terminal_epoch == min(s.epoch for s in often if s.train_error == 0)


def test_the_declared_early_stop_counts_from_the_terminal_phase(digits):
    states = list(train(network(), digits, **settings(epochs=200, measure_at=[1, 200], terminal_epochs=3)))
    assert states[-1].epoch == states[-1].terminal_epoch + 3 < 200


def test_schedules():
    assert [SCHEDULES["step"](t / 9) for t in range(9)] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])
    # 350 epochs as in Papyan, Han & Donoho: the first whole epochs (from 0) after a third and two thirds, 116.7 and 233.3
    rates = [SCHEDULES["step"](e / 350) for e in range(350)]
    assert [e for e in range(1, 350) if rates[e] < rates[e - 1]] == [117, 234]
    assert SCHEDULES["cosine"](0) == 1 and SCHEDULES["cosine"](0.5) == pytest.approx(0.5) and SCHEDULES["constant"](0.9) == 1


def test_measurement_epochs_are_log_spaced_and_hold_both_ends():
    epochs = measurement_epochs(350, 30)
    assert epochs[0] == 0 and epochs[-1] == 350 and len(epochs) <= 31 and epochs == sorted(set(epochs))
    assert measurement_epochs(1, 20) == [0, 1]


def test_squared_loss_by_hand():
    logits = torch.tensor([[1.0, 2.0], [0.5, 0.0]])
    assert squared_loss(logits, torch.tensor([0, 1])).item() == pytest.approx((0 + 4 + 0.25 + 1) / 4)


def test_extract_keeps_order_and_does_not_augment(digits):
    model = network().eval()
    features = extract(model, digits.test, batch_size=7)
    x = digits.test.normalise(digits.test.images)
    torch.testing.assert_close(features, model.features(x), rtol=1e-4, atol=1e-5)
    assert not features.requires_grad


def test_bfloat16_and_augmentation_and_cosine_run(digits):
    images = load("mnist5k", train_size=40, seed=0)
    model = build_model("cnn", images.image_shape, 10, generator=child_generator(0, "weights"))
    states = list(train(model, images, **settings(epochs=2, precision="bfloat16", augment="crop", schedule="cosine")))
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())
    assert extract(model, images.test).dtype == torch.float32 and states[-1].epoch == 2


def test_a_diverging_loss_is_an_error_that_names_the_epoch(digits):
    with pytest.raises(FloatingPointError, match=r"in epoch \d+; a smaller learning rate than 1e\+06"):
        list(train(network(model="mlp_plain"), digits, loss="squared", **settings(learning_rate=1e6)))


@pytest.mark.parametrize("change", [{"loss": "square"}, {"schedule": "steps"}, {"precision": "fp16"}, {"epochs": 0}, {"augment": "flip"}])
def test_unknown_names_are_refused_before_a_step_is_taken(digits, change):
    model = network()
    before = model.classifier.weight.clone()
    with pytest.raises(InputError):
        list(train(model, digits, **settings(**change)))
    assert torch.equal(model.classifier.weight, before)
