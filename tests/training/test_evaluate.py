"""Predictions of a network as it stands: the search for zero error agrees with a whole pass, and looks at no more than it must."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ncbook.data.datasets import load
from ncbook.training.evaluate import Interpolation, accuracy, error, prediction_batch


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
