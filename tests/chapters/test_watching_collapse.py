"""Watching collapse: the plane of three means, and points that are where a projection by hand puts them."""

import torch

from ncbook.chapters.watching_collapse.experiment import experiment, mean_plane
from ncbook.training.evaluate import extract
from ncbook.training.recipe import Recipe

RECIPE = {
    "dataset": "digits",
    "model": "mlp",
    "train_size": 100,
    "epochs": 2,
    "learning_rate": 0.05,
    "weight_decay": 1e-2,
    "batch_size": 25,
}


def test_means_of_equal_distance_are_the_corners_of_an_equilateral_triangle():
    means = torch.eye(7)[:3] + torch.ones(7)
    centre, plane = mean_plane(means)
    corners = (means - centre) @ plane
    expected = torch.tensor([[0, 1], [3**0.5 / 2, -1 / 2], [-(3**0.5) / 2, -1 / 2]])
    torch.testing.assert_close(corners, expected)


def test_points_of_the_last_epoch_are_projected_features():
    table = experiment(**RECIPE, classes=[1, 4, 7], per_class=3, seed=5)
    assert table.groupby(["split", "epoch"]).size().eq(9).all() and set(table["split"]) == {"train", "test"}
    data, network, states = Recipe(**RECIPE).start(5, "cpu")
    for _ in states:
        pass
    features, labels = extract(network, data.train), data.train.labels
    means = torch.stack([features[labels == c].mean(0) for c in (1, 4, 7)])
    centre, plane = mean_plane(means)
    last = table[table["epoch"] == 2]
    for split, of_split in (("train", data.train), ("test", data.test)):
        image = int((of_split.labels == 4).nonzero()[1])
        point = last[(last["split"] == split) & (last["label"] == 4)].iloc[1]
        logits = network(of_split.normalise(of_split.images[image : image + 1]))
        expected = (extract(network, of_split)[image] - centre) @ plane
        torch.testing.assert_close(torch.tensor([point["x"], point["y"]]).float(), expected, atol=1e-3, rtol=0)
        assert point["right"] == (int(logits.argmax()) == 4)
    assert last["variance_ratio"].nunique() == last["error"].nunique() == 2  # of each split as a whole
