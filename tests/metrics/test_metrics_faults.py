"""Seven ways to get a plausible number that is wrong: each test states the number that came out before, or that nothing was said."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import ncbook.torchvision_compat
from ncbook.errors import InputError
from ncbook.metrics import ClassMeans, ClassMoments, Collapse, collapse_table, linear_layers_table, measure


def data(n=120, d=6, classes=3, seed=0, spread=0.5):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    means = 2 * torch.randn(classes, d, generator=torch.Generator().manual_seed(7))
    return means[labels] + spread * torch.randn(n, d, generator=generator), labels


class Net(nn.Module):
    """A classifier that carries its own metrics, as a Lightning module does."""

    def __init__(self, how):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(6, 3)
        given = {
            "module": {"head": self.fc},
            "parameter": {"weight": self.fc.weight},
            "function": {"head": lambda: self.fc},
            "computed": {"head": lambda: 2 * self.fc.weight},
            "method": {"head": self.head},
        }[how]
        self.means = ClassMeans(3, 6, **given)

    def head(self):
        return self.fc


def to_double(net):
    net.double()


def to_bfloat16(net):
    net.bfloat16()


def new_memory(net):  # what .to("cuda") does
    net._apply(lambda t: t.clone())


@pytest.mark.parametrize("how", ["module", "parameter", "function"])
@pytest.mark.parametrize("change", [to_double, to_bfloat16, new_memory])
def test_1_the_weight_after_a_conversion(how, change):
    net, (H, y) = Net(how), data()
    net.means.update(H, y)
    change(net)
    with torch.no_grad():  # training goes on: to perfect duality
        net.fc.weight.copy_(net.means.moments().centred())
    tolerance = 1e-4 if change is to_bfloat16 else 1e-12
    assert net.means.compute()["nc3_self_duality"].item() < tolerance  # was that of the first step: 1.7


@pytest.mark.parametrize("how", ["module", "parameter", "function", "computed", "method"])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: torch.optim.swa_utils.AveragedModel(net).module])
def test_1_the_weight_of_a_copy(how, duplicate):
    net, (H, y) = Net(how), data()
    net.means.update(H, y)
    average = duplicate(net)
    with torch.no_grad():
        average.fc.weight.copy_(net.means.moments().centred())
    assert average.means.compute()["nc3_self_duality"].item() < 1e-12
    assert net.means.compute()["nc3_self_duality"].item() > 1


@pytest.mark.parametrize("give", [lambda net: net.fc, lambda net: net.fc.weight, lambda net: (net.fc.weight, net.fc.bias)])
def test_1_a_function_that_cannot_follow_a_copy_is_refused_in_it_alone(give):
    net, (H, y) = Net("module"), data()
    source = eval("lambda: give(kept)", {"give": give, "kept": net})
    net.means = ClassMeans(3, 6, head=source)
    net.means.update(H, y)
    wanted = net.means.compute()["nc3_self_duality"]
    average, alone = copy.deepcopy(net), net.means.clone()  # was the weight of the first network: 1.36 for 0
    with pytest.raises(InputError, match="copied with its network"):
        average.means.compute()
    for beside in (net.means, alone, copy.deepcopy(alone)):
        assert beside.compute()["nc3_self_duality"] == wanted


def test_1_reading_the_classifier_does_not_search_memory(monkeypatch):
    """Each search took 120 ms: a metric object with its layer was 50 times slower than one without."""
    nets, (H, y) = [Net(how) for how in ("module", "parameter")], data()
    moments = ClassMoments.from_features(H, y)
    metrics = [net.means for net in nets] + [Collapse(moments, head=nets[0].fc), Collapse(moments, weight=nets[1].fc.weight)]
    monkeypatch.setattr("ncbook.metrics.head.gc", None)
    for metric in metrics:
        metric.update(H, y)
        assert metric.compute()


@pytest.mark.parametrize("how", ["module", "parameter"])
def test_1_a_weight_that_is_no_longer_in_use_is_refused(how):
    net, (H, y) = Net(how), data()
    net.means.update(H, y)
    net.fc = nn.Linear(6, 3)
    with pytest.raises(InputError, match="no longer a part of its network"):
        net.means.compute()


def test_1_a_function_follows_a_new_head():
    net, (H, y) = Net("function"), data()
    net.means.update(H, y)
    net.fc = nn.Linear(6, 3)
    with torch.no_grad():
        net.fc.weight.copy_(net.means.moments().centred())
    assert net.means.compute()["nc3_self_duality"].item() < 1e-12


def test_1_a_normalised_weight():
    H, y = data()
    for how in ("module", "parameter"):
        net = Net(how)
        net.means.update(H, y)
        parametrizations.weight_norm(net.fc)
        if how == "parameter":
            with pytest.raises(InputError, match="no longer a part of its network"):
                net.means.compute()
            continue
        with torch.no_grad():
            net.fc.weight = net.means.moments().centred().float()
        assert net.means.compute()["nc3_self_duality"].item() < 1e-12


@pytest.mark.parametrize("bare", [lambda p: p.detach(), lambda p: p.data, lambda p: p.detach().numpy(), lambda p: p.detach().numpy()[::-1]])
def test_1_a_tensor_that_would_go_stale_is_refused(bare):
    layer = nn.Linear(6, 3)
    for make in (lambda w: ClassMeans(3, 6, weight=w), lambda w: Collapse(ClassMoments.from_features(*data()), weight=w)):
        with pytest.raises(InputError, match="goes stale"):
            make(bare(layer.weight))
        make(copy.deepcopy(bare(layer.weight)))


def test_1_collapse_reads_the_weight_when_it_predicts():
    H, y = data()
    layer = nn.Linear(6, 3)
    collapse = Collapse(ClassMoments.from_features(H, y), head=layer)
    layer.double()
    with torch.no_grad():
        layer.weight.zero_(), layer.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    collapse.update(H, y)
    assert collapse.compute()["error"].item() == pytest.approx(2 / 3)


def test_1_a_weight_at_compute_and_no_cached_value():
    H, y = data()
    means = ClassMeans(3, 6, weight=torch.eye(3, 6))
    means.update(H, y)
    before = means.compute()["nc3_self_duality"]
    assert means.compute(means.moments().centred())["nc3_self_duality"] < 1e-12 < before
    assert means.compute()["nc3_self_duality"] == before


# --- 2: which layer is the head -----------------------------------------------------------------------------------------------------------


class Body(nn.Module):
    def __init__(self, end):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.fc, self.other, self.square = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 3), nn.Linear(3, 3)
        self.prototypes = nn.Parameter(torch.randn(3, 3))
        self.end = end

    def forward(self, x):
        return self.end(self, torch.relu(self.body(x)))


def auxiliary(net, h):
    scores = net.fc(h)
    net.loss = net.other(h).mean()  # runs later, and is no part of the output
    return scores


UNCLEAR = {
    "two heads averaged": lambda net, h: (net.fc(h) + net.other(h)) / 2,
    "a product after the head": lambda net, h: net.fc(h) @ net.prototypes,
    "distances to prototypes": lambda net, h: -torch.cdist(net.fc(h), net.prototypes),
    "two heads averaged in place": lambda net, h: net.fc(h).add_(net.other(h)).div_(2),
    "cosine head": lambda net, h: 10 * nn.functional.normalize(h) @ nn.functional.normalize(net.fc.weight).T,
}


def test_2_an_auxiliary_head_that_runs_later():
    net, (H, y) = Body(auxiliary), data()
    row = measure(net, [(H, y)]).iloc[0]
    assert row["layer"] == "fc"  # was "other"
    wanted = collapse_table((torch.relu(net.body(H)), y), weight=net.fc.weight, bias=net.fc.bias).iloc[0]
    assert row["nc3_self_duality"] == pytest.approx(wanted["nc3_self_duality"], rel=1e-6) and row["error"] == wanted["error"]


@pytest.mark.parametrize("end", [lambda net, h: net.fc(h).softmax(1), lambda net, h: net.fc(h).log_softmax(1), lambda net, h: net.fc(h)])
def test_2_up_to_softmax(end):
    assert measure(Body(end), [data()])["layer"].tolist() == ["fc"]


def test_2_a_last_linear_layer_is_the_head_even_if_it_is_square():
    assert measure(Body(lambda net, h: net.square(net.fc(h))), [data()])["layer"].tolist() == ["square"]


@pytest.mark.parametrize("name", UNCLEAR)
def test_2_an_unclear_head_is_named(name):
    net = Body(UNCLEAR[name])
    with pytest.raises(InputError, match="head=") as caught:
        measure(net, [data()])
    if name != "cosine head":
        assert "'fc'" in str(caught.value)
        assert measure(net, [data()], head="fc")["layer"].tolist() == ["fc"]
        assert measure(net, [data()], head=net.fc)["nc3_self_duality"].notna().all()


class Cosine(nn.Linear):
    def forward(self, x):
        return 10 * nn.functional.linear(nn.functional.normalize(x), nn.functional.normalize(self.weight))


class Shifted(nn.Linear):
    def forward(self, x):
        return super().forward(x - 1)


def halved(how):
    layer = nn.Linear(8, 3)
    if how == "input":
        layer.register_forward_pre_hook(lambda module, args: (args[0] / 2,))
    else:
        layer.register_forward_hook(lambda module, args, output: output / 2)
    return layer


@pytest.mark.parametrize("make", [lambda: Cosine(8, 3), lambda: Shifted(8, 3), lambda: halved("input"), lambda: halved("output")])
def test_2_a_linear_layer_that_does_more_is_refused_unless_it_is_named(make):
    net = Body(lambda net, h: net.fc(h))
    net.fc = make()
    with pytest.raises(InputError, match=r"layer 'fc' \(\w+\) puts out more than"):  # NC2 of a weight that is not the one in use
        measure(net, [data()])
    assert measure(net, [data()], head="fc")["layer"].tolist() == ["fc"]


def test_2_a_linear_layer_of_another_class_or_with_hooks_that_does_no_more_is_a_head():
    class Own(nn.Linear):
        def forward(self, input):
            return input @ self.weight.T + self.bias

    net = Body(lambda net, h: net.fc(h))
    wanted = measure(net, [data()])
    net.fc.__class__ = Own
    net.fc.register_forward_pre_hook(lambda module, args: None)
    assert measure(net, [data()]).equals(wanted)


# --- 3: what in-place operations change ---------------------------------------------------------------------------------------------------


def without_in_place(network):
    """The same ResNet with ``out = out + identity`` and ReLUs that leave their input alone."""
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
        if type(module).__name__ == "BasicBlock":

            def forward(x, block=module):
                out = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
                return block.relu(out + (x if block.downsample is None else block.downsample(x)))

            module.forward = forward
    return network


def test_3_all_layers_of_a_resnet():
    torch.manual_seed(0)
    network = ncbook.torchvision_compat.torchvision.models.resnet18(num_classes=3)
    labels = torch.arange(18) % 3
    batches = [(torch.randn(18, 3, 32, 32) + labels[:, None, None, None], labels)]
    names = [name for name, m in network.named_modules() if name and not isinstance(m, nn.ReLU)]  # a ReLU runs twice in a block
    found = measure(network, batches, layer=names)
    wanted = measure(without_in_place(network), batches, layer=names)
    assert len(names) > 50
    for metric in ("variance_ratio", "nc1", "ncc_error", "weak_nearest_mean"):
        assert found[metric].to_numpy() == pytest.approx(wanted[metric].to_numpy(), rel=1e-6), metric


def test_3_a_network_of_linear_layers():
    layers = [nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3)]
    wanted = linear_layers_table(nn.Sequential(*layers), [data()], 3, 1)
    layers[1], layers[3] = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
    assert linear_layers_table(nn.Sequential(*layers), [data()], 3, 1) == wanted and wanted[1]["negativity"] > 0.1  # was 0


# --- 4: NaN has no largest entry ----------------------------------------------------------------------------------------------------------


def spoilt(tensor):
    tensor = tensor.clone()
    tensor.view(-1)[-1] = torch.nan
    return tensor


def test_4_nan_scores_weights_and_features():
    H, y = data()
    weight, bias, scores = torch.randn(3, 6), torch.randn(3), torch.randn(120, 3)
    for split, options in (
        ((H, y, spoilt(scores)), {}),
        ((H, y), {"weight": spoilt(weight), "bias": bias}),
        ((H, y), {"weight": weight, "bias": spoilt(bias)}),
        ((H, y), {"weight": weight * torch.inf}),
    ):
        with pytest.raises(InputError, match="NaN"):
            collapse_table(split, **options)
    moments = ClassMoments.from_features(H, y)
    with pytest.raises(InputError, match="NaN"):
        Collapse(moments, weight=spoilt(weight))
    with pytest.raises(InputError, match="NaN"):
        ClassMeans(3, 6, weight=spoilt(weight))
    collapse = Collapse(moments)
    with pytest.raises(InputError, match="NaN"):
        collapse.update(H, y, spoilt(scores))
    collapse.update(spoilt(H), y)
    with pytest.raises(InputError, match="NaN"):
        collapse.compute()  # ncc_error was a number
    with pytest.raises(InputError, match="NaN"):
        measure(nn.Sequential(nn.Linear(6, 3)), [(spoilt(H), y)])


# --- 5: the second pass reads what the first read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda H, y: (H[:-1], y[:-1]), "saw 39 samples of class 2, the first 40"),
        (lambda H, y: (torch.cat([H, H[:3]]), torch.cat([y, y[:3]])), "saw 41 samples of class 0, the first 40"),
        (lambda H, y: data(seed=1), "another mean in the second pass"),
        (lambda H, y: (H + 0.01, y), "another mean in the second pass"),
        (lambda H, y: (torch.where(torch.rand(H.shape) < 0.1, 0.0, H), y), "another mean in the second pass"),  # dropout
    ],
)
def test_5_other_data_in_the_second_pass(change, says):
    H, y = data()
    collapse = Collapse(ClassMoments.from_features(H, y))
    collapse.update(*change(H, y))
    with pytest.raises(InputError, match=says):
        collapse.compute()


@pytest.mark.parametrize(
    ("spread", "change", "says"),
    [
        (1e-5, lambda H, means: 1.00005 * H, "mean"),  # NC1 was 1,000 times too large
        (1e-5, lambda H, means: H + 1e-4, "mean"),  # 41 times
        (1e-5, lambda H, means: 2 * H - means, "spread"),  # 4 times
        (0.05, lambda H, means: 2 * H - means, "of class 0 have another (mean|spread)"),
        (1.0, lambda H, means: 2 * H - means, "have another (mean|spread)"),
    ],
)
def test_5_other_data_at_any_depth_of_collapse(spread, change, says):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(1000) % 10
    means = (10 + torch.randn(10, 32, generator=generator))[labels]
    H = means + spread * torch.randn(1000, 32, generator=generator)
    collapse = Collapse(ClassMoments.from_features(H, labels))
    for part in zip(H.split(7), labels.split(7), strict=True):
        collapse.update(*part)
    assert collapse.compute()["nc1"].item() == pytest.approx(collapse_table((H, labels))["nc1"][0], rel=1e-4, abs=0)
    collapse.reset()
    collapse.update(change(H, means), labels)
    with pytest.raises(InputError, match=f"{says} in the second pass"):
        collapse.compute()


@pytest.mark.parametrize("spread", [1e-5, 0.5, 5.0])
def test_5_the_same_data_in_another_order_and_in_other_batches_pass(spread):
    H, y = data(spread=spread)
    H = H + 10
    collapse = Collapse(ClassMoments.from_features(H, y))
    order = torch.randperm(len(y))
    noise = 1 + 1e-6 * torch.randn(H.shape)  # what another batch size does to a network's features
    for rows in order.split(7):
        collapse.update((H * noise)[rows] if spread > 1e-3 else H[rows], y[rows])
    assert collapse.compute()["nc1"].item() == pytest.approx(collapse_table((H, y))["nc1"][0], rel=1e-4)


# --- 6 and 7 ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_6_wide_integers(dtype):
    H, y = data(n=600, d=20)
    whole = (10 * H).to(dtype)
    wanted = collapse_table((whole.double(), y)).iloc[0]
    shifted = whole + 2**28
    found = collapse_table((shifted, y)).iloc[0]
    assert found["variance_ratio"] == pytest.approx(wanted["variance_ratio"], rel=1e-9)  # .222 for .150 by way of float32
    through_float32 = collapse_table((shifted.float(), y))["variance_ratio"][0]
    assert abs(through_float32 / wanted["variance_ratio"] - 1) > 0.1


def test_7_labels_that_are_fractions():
    H, y = data()
    with pytest.raises(InputError, match="integers"):
        measure(nn.Linear(6, 3), [(H, y + 0.6)])  # were truncated
