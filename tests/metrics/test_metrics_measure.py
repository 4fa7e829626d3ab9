"""`measure` on networks of a user: which features, which head, and nothing left changed."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ncbook.errors import InputError
from ncbook.metrics import METRICS, collapse_table, measure


class Net(nn.Module):
    """A small CNN whose classifier is not the last registered layer."""

    def __init__(self):
        super().__init__()
        self.classifier = nn.Linear(6, 3)
        self.unused = nn.Linear(2, 2)
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.dropout = nn.Dropout(0.5)
        self.hidden = nn.Linear(4, 6)

    def forward(self, x):
        x = self.stem(x).mean((2, 3))
        return self.classifier(torch.tanh(self.hidden(self.dropout(x))))


@pytest.fixture
def case():
    torch.manual_seed(0)
    labels = torch.arange(60) % 3
    images = torch.randn(60, 1, 6, 6) + 2 * labels[:, None, None, None]
    return (
        Net(),
        DataLoader(TensorDataset(images[:36], labels[:36]), batch_size=8),
        DataLoader(TensorDataset(images[36:], labels[36:]), batch_size=24),
    )


def by_hand(net, loader):
    with torch.no_grad():
        x, y = (torch.cat(parts) for parts in zip(*loader, strict=True))
        return torch.tanh(net.hidden(net.stem(x).mean((2, 3)))), y, net(x)


def test_the_input_of_the_last_linear_that_runs(case):
    net, train, test = case
    found = measure(net, train, test, common_n=4, kmeans=True)
    net.eval()
    wanted = collapse_table(by_hand(net, train), by_hand(net, test), weight=net.classifier.weight, common_n=4)
    assert list(found.columns) == ["layer", "split", "n", *METRICS] and (found["layer"] == "classifier").all()
    for name in METRICS[:6] + ["nc3_self_duality", "nc4_ncc_mismatch", "error", "weak_kmeans", "nc1_common"]:
        assert found[name].to_numpy() == pytest.approx(wanted[name].to_numpy(), rel=1e-4), name


def test_named_layers(case):
    net, train, test = case
    found = measure(net, train, test, layer=["stem", "hidden", "stem.0"])
    assert found["layer"].tolist() == ["stem"] * 2 + ["hidden"] * 2 + ["stem.0"] * 2 and found["split"].tolist() == ["train", "test"] * 3
    assert found["nc3_self_duality"].isna().all() and found["nc2_equinorm_classifier"].isna().all()
    assert found["nc4_ncc_mismatch"].notna().all() and found["error"].nunique() <= 2
    flat = measure(net, train, layer="stem", pooling="flatten")
    assert flat["variance_ratio"][0] > found["variance_ratio"][0]  # positions add spread within the classes
    net.eval()
    with torch.no_grad():
        x, y = (torch.cat(parts) for parts in zip(*train, strict=True))
        wanted = collapse_table((net.stem(x).flatten(1), y))
    assert flat["variance_ratio"][0] == pytest.approx(wanted["variance_ratio"][0], rel=1e-5)


def test_nothing_is_left_changed(case):
    net, train, test = case
    net.train()
    net.stem[1].eval()  # a frozen batch norm stays frozen
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [m.training for m in net.modules()]
    measure(net, train, test)
    with pytest.raises(InputError):
        measure(net, train, layer="nothing")
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules()) and torch.is_grad_enabled()


def test_mlp_and_the_network_itself():
    torch.manual_seed(1)
    labels = torch.arange(40) % 4
    inputs = torch.randn(40, 5) + 3 * torch.eye(4, 5)[labels]
    mlp = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 4, bias=False))
    assert measure(mlp, [(inputs, labels)])["layer"].tolist() == ["2"]
    linear = nn.Linear(5, 4).double()
    row = measure(linear, [(inputs.double(), labels.int())]).iloc[0]
    assert row["layer"] == "" and row["variance_ratio"] == pytest.approx(collapse_table((inputs, labels))["variance_ratio"][0], rel=1e-6)


def test_bfloat16_network(case):
    net, train, _ = case
    images, labels = train.dataset.tensors
    table = measure(net.bfloat16(), [(images.bfloat16(), labels)], layer=["stem", "hidden"])
    assert table["variance_ratio"].between(0, 100).all()


@pytest.mark.parametrize(
    ("layer", "message"),
    [("hiden", "did you mean 'hidden'? Known: classifier"), ("unused", "did not run"), (["stem", "stem.7"], "unknown layer 'stem.7'")],
)
def test_layer_names(case, layer, message):
    net, train, _ = case
    with pytest.raises(InputError) as caught:
        measure(net, train, layer=layer)
    assert message in str(caught.value)


class Wrapped(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.linear, self.change = nn.Linear(2, 2), change

    def forward(self, x):
        return self.change(self.linear(x))


@pytest.mark.parametrize(
    ("model", "batches", "message"),
    [
        (nn.Sequential(nn.Flatten()), None, "does not end in an nn.Linear"),
        (Wrapped(lambda x: torch.cat([x, x], 1)), None, "does not end in an nn.Linear"),
        (Wrapped(lambda x: (x, x)), None, r"scores of shape \(N, C\)"),
        (Wrapped(lambda x: x[:, :, None]), None, r"scores of shape \(N, C\)"),
        (nn.Linear(2, 2), [], "no batches"),
        (nn.Linear(2, 2), [torch.zeros(4, 2)], r"pairs \(x, y\)"),
        (nn.Linear(2, 2), [(torch.full((4, 2), torch.nan), torch.tensor([0, 0, 1, 1]))], "NaN"),
        (nn.Linear(2, 2), [(torch.randn(4, 2), torch.tensor([0, 0, 1, 2]))], r"labels must be in 0\.\.1"),
        (nn.Linear(2, 3), [(torch.randn(4, 2), torch.tensor([0, 0, 1, 1]))], "no samples of class 2"),
    ],
)
def test_networks_and_loaders_that_cannot_be_measured(model, batches, message):
    if batches is None:
        batches = [(torch.randn(6, 2), torch.arange(6) % 2)]
    with pytest.raises(InputError, match=message):
        measure(model, batches)


def test_a_named_layer_must_put_out_a_tensor():
    model = nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (4, 2)), nn.Linear(2, 2))
    with pytest.raises(InputError, match="layer '0' does not put out one tensor with a row a sample"):
        measure(model, [(torch.randn(4, 2), torch.tensor([0, 0, 1, 1]))], layer="0")


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        return self.first(self.second(self.first(x)))


def test_a_layer_used_twice_counts_where_it_runs_last():
    torch.manual_seed(0)
    model, labels = Tied(), torch.arange(12) % 3
    inputs = torch.randn(12, 3) + labels[:, None]
    row = measure(model, [(inputs, labels)]).iloc[0]
    wanted = collapse_table((model.second(model.first(inputs)), labels))
    assert row["layer"] == "first" and row["nc1"] == pytest.approx(wanted["nc1"][0], rel=1e-6)
