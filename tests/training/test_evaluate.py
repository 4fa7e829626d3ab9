"""Predictions of a network as it stands: the search for zero error agrees with a whole pass, and looks at no more than it must."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ncbook.data.datasets import load
from ncbook.metrics.network import measure
from ncbook.training.evaluate import Interpolation, accuracy, error, extract, extract_layers, prediction_batch


@pytest.fixture(scope="module")
def split():
    return load("mnist5k", train_size=600, seed=0).train  # four batches of predictions


class Oracle(nn.Module):
    """Predicts the label of each image of a split, but for the `wrong` positions; it counts the images it is shown."""

    def __init__(self, split, wrong=()):
        super().__init__()
        self.known = split.normalise(split.images).flatten(1)
        self.answers, self.shown = split.labels.clone(), 0
        self.miss(wrong)

    def miss(self, wrong):
        for position in wrong:
            self.answers[position] = (self.answers[position] + 1) % 10

    def forward(self, x):
        self.shown += len(x)
        here = torch.cdist(x.flatten(1), self.known, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
        return nn.functional.one_hot(self.answers[here], 10).float()


@pytest.mark.parametrize("wrong", [[], [0], [599], [166, 167, 168], [5, 400, 599]])
def test_it_agrees_with_a_whole_pass(split, wrong):
    oracle = Oracle(split, wrong)
    assert error(oracle, split) == len(wrong) / 600 and accuracy(oracle, split) == (600 - len(wrong)) / 600
    interpolates = Interpolation(split)
    assert interpolates(oracle) is interpolates(oracle) is (not wrong)  # asked twice: the second time suspects come first


def test_an_image_that_stays_wrong_costs_itself_and_nothing_else(split):
    oracle, interpolates = Oracle(split, [599]), Interpolation(split)
    assert not interpolates(oracle) and oracle.shown == 600
    oracle.shown = 0
    assert not interpolates(oracle) and oracle.shown == 1


def test_suspects_that_are_right_now_are_no_proof(split):
    oracle, interpolates = Oracle(split, [599]), Interpolation(split)
    assert not interpolates(oracle)
    oracle.answers = split.labels.clone()
    oracle.miss([3])
    assert not interpolates(oracle)
    oracle.answers = split.labels.clone()
    assert interpolates(oracle)


def test_batches_are_sized_by_bytes(split):
    assert prediction_batch(split) == 2**17 // 784
    assert prediction_batch(replace(split, images=torch.zeros(5, 1, 8, 8, dtype=torch.uint8))) == 1024
    assert prediction_batch(replace(split, images=torch.zeros(5, 3, 224, 224, dtype=torch.uint8))) == 32


def test_predictions_and_features_are_never_tf32(split):
    """Which cuDNN's convolutions are, on a GPU, unless they are told before."""
    seen = []

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers, self.classifier = ["only"], nn.Linear(784, 10)

        def features(self, x, layer=None, *, pooled=True):
            seen.append(torch.backends.cudnn.conv.fp32_precision)
            return x.flatten(1)

        def all_features(self, x, *, pooled=True):
            return {"only": self.features(x)}

        def forward(self, x):
            return self.classifier(self.features(x))

    network, before = Network(), torch.backends.cudnn.conv.fp32_precision
    assert before == "tf32"
    error(network, split), Interpolation(split)(network), extract(network, split), extract_layers(network, split)
    batches = list(split.batches(100))
    measure(network, batches, batches)
    assert set(seen) == {"ieee"} and torch.backends.cudnn.conv.fp32_precision == before
    network(split.normalise(split.images[:2]))
    assert seen[-1] == "tf32"  # training is as it was
