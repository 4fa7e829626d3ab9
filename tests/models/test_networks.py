"""Networks: shapes and layers, the same features at a layer as by hand, and initialisation from a generator alone."""

import pytest
import torch

from ncbook.errors import InputError
from ncbook.models.networks import ACTIVATIONS, PRESETS, build_model, mlp, resnet_small


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


SHAPES = {"mlp": (1, 8, 8), "mlp_plain": (3, 5, 5), "mlp_wide": (1, 1, 64), "mlp_deep": (1, 8, 8)}
SHAPES |= {"two_layer": (3, 16, 13), "cnn": (3, 12, 12), "cnn_deep": (1, 8, 8), "resnet_small": (3, 9, 9), "resnet18": (3, 16, 16)}


@pytest.mark.parametrize(("name", "shape"), SHAPES.items())
def test_every_layer_agrees_with_running_the_blocks_by_hand(name, shape):
    network = build_model(name, shape, 7, generator=generator()).eval()
    x = torch.randn(4, *shape, generator=generator(1))
    everywhere = network.all_features(x)
    assert list(everywhere) == network.layers
    by_hand = x
    for layer in network.layers:
        by_hand = network.blocks[layer](by_hand)
        torch.testing.assert_close(network.features(x, layer, pooled=False), by_hand.flatten(1))
        pooled = by_hand.mean(dim=(2, 3)) if by_hand.ndim == 4 else by_hand
        torch.testing.assert_close(network.features(x, layer), pooled)
        torch.testing.assert_close(everywhere[layer], pooled)
    last = network.features(x)
    torch.testing.assert_close(network(x), last @ network.classifier.weight.T + network.classifier.bias)


def test_resnet18_is_torchvisions_but_for_the_stem():
    from ncbook.torchvision_compat import torchvision

    network, original = build_model("resnet18", (3, 32, 32), 10, generator=generator()), torchvision.models.resnet18(num_classes=10)
    difference = sum(p.numel() for p in original.parameters()) - sum(p.numel() for p in network.parameters())
    assert difference == 3 * 64 * (7 * 7 - 3 * 3)
    assert network.features(torch.zeros(2, 3, 32, 32), "stem", pooled=False).shape == (2, 64 * 32 * 32)  # stride 1, no max-pool
    assert network.features(torch.zeros(2, 3, 32, 32), "layer4-1", pooled=False).shape == (2, 512 * 4 * 4)


def test_the_small_resnet_at_width_64_is_the_first_three_stages_of_resnet18():
    small, large = resnet_small((3, 32, 32), 10, width=64), build_model("resnet18", (3, 32, 32), 10, generator=generator())
    shapes = [{k: v.shape for k, v in net.blocks.state_dict().items() if not k.startswith("layer4")} for net in (small, large)]
    assert shapes[0] == shapes[1]
    parameters = resnet_small((3, 32, 32), 10, repeat=3).parameters()  # ResNet-20 with convolutions in two skip paths
    assert sum(p.numel() for p in parameters) == 269_722 + (16 * 32 + 64) + (32 * 64 + 128)
    assert [tuple(h.shape[1:]) for h in small.activations(torch.zeros(2, 3, 32, 32)).values()][-1] == (256, 8, 8)


def test_weights_come_from_the_generator_and_leave_the_global_one_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one = build_model("mlp", (1, 8, 8), 10, generator=generator(3))
    assert torch.equal(torch.rand(3), expected)
    two, other = (build_model("mlp", (1, 8, 8), 10, generator=generator(s)) for s in (3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert not torch.equal(one.classifier.weight, other.classifier.weight)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_mlp_of_any_depth_width_activation_and_bias(activation, bias, batch_norm):
    network = mlp((1, 4, 4), 3, depth=4, width=9, activation=activation, bias=bias, batch_norm=batch_norm)
    linear = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(16, 9), (9, 9), (9, 9), (9, 9), (9, 3)]
    assert [m.bias is not None for m in linear] == [bias and not batch_norm] * 4 + [bias]
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert len({id(m) for m in norms}) == (4 if batch_norm else 0)


def test_without_bias_a_linear_mlp_is_the_product_of_its_weights():
    network = mlp((1, 2, 3), 4, depth=3, width=5, activation="linear", bias=False).double()
    x = torch.randn(8, 1, 2, 3, generator=generator(), dtype=torch.float64)
    product = torch.eye(6, dtype=torch.float64)
    for layer in (m for m in network.modules() if isinstance(m, torch.nn.Linear)):
        product = layer.weight @ product
    torch.testing.assert_close(network(x), x.flatten(1) @ product.T)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: build_model("mpl", (1, 8, 8), 10, generator=generator()), "did you mean 'mlp'"),
        (lambda: build_model("resnet18", (1, 4, 4), 10, generator=generator()), "at least 8"),
        (lambda: mlp((1, 8, 8), 10, activation="rleu"), "did you mean 'relu'"),
        (lambda: mlp((1, 8, 8), 10, depth=0), "depth"),
        (lambda: build_model("mlp", (1, 8, 8), 10, generator=generator()).features(torch.zeros(1, 1, 8, 8), "hiden1"), "hidden1"),
    ],
)
def test_what_cannot_be_built_says_why(call, says):
    with pytest.raises(InputError, match=says):
        call()


def test_presets_are_all_tested_here():
    assert set(PRESETS) == set(SHAPES)
