"""Heatmaps against propagation rule by rule, their conservation, and networks of all shapes."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from study.data.split import Split
from study.errors import NotApplicable
from study.models.lenet5 import LeNet5
from study.models.mlp import MLP
from study.parts.localisation.relevance import Relevance, coloured, heatmaps
from study.runtime.randomness import forked
from tests.networks import Plain


def chain(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules).double().eval()


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with forked(0, "init"):
        return build().eval()


def convolutional(bias: bool = True, hidden: bool = True) -> nn.Sequential:
    with forked(0, "init"):
        body = (nn.Conv2d(1, 4, 3, bias=bias), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, bias=bias), nn.ReLU())
        head = (nn.Linear(96, 12), nn.ReLU(), nn.Linear(12, 5)) if hidden else (nn.Linear(96, 5),)
        return chain(*body, nn.Flatten(), *head)


def images(count: int = 7, side: int = 14, channels: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, channels, side, side, generator=generator, dtype=torch.float64)


def rule_by_rule(net: nn.Sequential, inputs: Tensor) -> list[Tensor]:
    """Relevance at the output of each module, by the rule of each, one module at a time."""
    entering = [inputs]
    for module in net:
        entering.append(module(entering[-1]))
    logits = entering[-1]
    answer = logits.argmax(1)
    relevance = torch.zeros_like(logits)
    relevance[range(len(inputs)), answer] = logits[range(len(inputs)), answer]
    found = [relevance]
    for module, values in reversed(list(zip(net, entering, strict=False))):
        if isinstance(module, nn.Linear):
            positive = module.weight.clamp(min=0)
            relevance = values * ((relevance / (values @ positive.T + 1e-9)) @ positive)
        elif not isinstance(module, nn.ReLU):
            leaf = values.detach().requires_grad_()
            output = module(leaf)
            (gradient,) = torch.autograd.grad(output, leaf, relevance / (output.detach() + 1e-9))
            relevance = leaf.detach() * gradient
        found.insert(0, relevance.detach())
    return found[1:]


def test_heatmaps_are_those_of_propagation_rule_by_rule() -> None:
    net, inputs = convolutional(), images()
    relevance = Relevance(net)
    maps = relevance(inputs)
    expected = rule_by_rule(net, inputs)
    assert relevance.names == ["1", "2", "4", "6"]
    for place, heatmap in zip([1, 2, 4, 7], maps.layers, strict=True):
        torch.testing.assert_close(heatmap, expected[place], rtol=1e-6, atol=1e-7)
        assert heatmap.abs().max() > 0
    assert maps.alive.all()


def test_relevance_is_conserved_without_biases() -> None:
    net, inputs = convolutional(bias=False, hidden=False), images()
    logits = net(inputs).amax(1)
    maps = Relevance(net)(inputs)
    for heatmap in [*maps.layers, maps.pixels]:
        assert heatmap is not None
        torch.testing.assert_close(heatmap.flatten(1).sum(1), logits, rtol=1e-5, atol=1e-8)


def test_features_with_negative_entries_get_gradient_times_activation() -> None:
    with forked(0, "init"):
        net = chain(nn.Flatten(), nn.Linear(9, 6), nn.LeakyReLU(0.5), nn.Linear(6, 4))
    inputs = images(side=3) - 0.5
    (heatmap,) = Relevance(net)(inputs).layers
    hidden = net[:3](inputs).detach()
    answer = net(inputs).argmax(1)
    assert bool((hidden < 0).any(1).all())
    torch.testing.assert_close(heatmap, hidden * net[3].weight[answer], rtol=1e-6, atol=1e-8)


def test_an_input_without_relevance_has_empty_heatmaps_and_is_known() -> None:
    net = convolutional()
    with torch.no_grad():
        net[6].weight.copy_(-net[6].weight.abs())
    maps = Relevance(net)(images())
    assert not maps.alive.any()
    assert not any(heatmap.any() for heatmap in maps.layers[:3])


def vgg() -> nn.Module:
    return models.vgg16_bn(num_classes=5)


NETWORKS = {
    "lenet5": (lambda: LeNet5(input_shape=(1, 28, 28), num_classes=10), 1, 28, 6),
    "mlp": (lambda: MLP(input_shape=(1, 8, 8), num_classes=10, batch_norm=True), 1, 8, 2),
    "resnet18": (lambda: models.resnet18(num_classes=5), 3, 32, 11),
    "densenet121": (lambda: models.densenet121(num_classes=5), 3, 32, 14),
}


def check_network(build: Callable[[], nn.Module], channels: int, side: int, layers: int) -> None:
    model = seeded(build)
    state = copy.deepcopy(model.state_dict())
    inputs = images(2, side, channels).float()
    relevance = Relevance(model)
    maps = relevance(inputs)
    assert len(relevance.names) == len(maps.layers) == layers
    shapes = dict[str, torch.Size]()
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _, __, output, name=name: shapes.update({name: output.shape}))
    model(inputs)
    assert maps.pixels is not None and maps.pixels.shape == inputs.shape
    for name, heatmap in zip(relevance.names, maps.layers, strict=True):
        assert bool(heatmap.isfinite().all()) and heatmap.shape == shapes.get(name, heatmap.shape)
    assert any(bool(heatmap.any()) for heatmap in maps.layers)
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_it_works_on_networks_of_all_shapes_and_leaves_them_alone(name: str) -> None:
    check_network(*NETWORKS[name])


@pytest.mark.slow
def test_it_works_on_a_deep_chain_with_batch_norm() -> None:
    check_network(vgg, 3, 32, 21)


def test_the_last_layers_are_the_same_as_among_all() -> None:
    net, inputs = convolutional(), images()
    everything, some, one = Relevance(net), Relevance(net, last=3), Relevance(net, last=1)
    assert some.names == everything.names[1:] and one.names == everything.names[3:]
    for ours, theirs in zip(some(inputs).layers, everything(inputs).layers[1:], strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(one(inputs).layers[0], everything(inputs).layers[3])
    assert Relevance(net, last=99).names == everything.names


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (chain(nn.Flatten(), nn.Linear(4, 3)), "no hidden layer"),
        (chain(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten()), "does not end in a chain"),
        (Plain(), "cannot be traced"),
    ],
)
def test_a_network_without_what_it_needs_is_unadaptable(model: nn.Module, reason: str) -> None:
    with pytest.raises(NotApplicable, match=reason):
        Relevance(model)


def test_a_head_that_works_on_sequences_is_unadaptable() -> None:
    net = chain(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    with pytest.raises(NotApplicable, match="one vector per input"):
        Relevance(net)(images(side=4)[:, 0])


def test_heatmaps_of_a_split_are_those_of_its_items_whatever_the_batches() -> None:
    net, inputs = convolutional(), images(300)
    relevance = Relevance(net)
    split = Split("repair", inputs, torch.zeros(300, dtype=torch.int64))
    indices = torch.arange(299, 20, -1)
    maps, alive = heatmaps(relevance, split, indices)
    expected = relevance(inputs[indices]).layers
    assert alive.shape == indices.shape
    for ours, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours, theirs.flatten(1))
    (third,), _ = heatmaps(relevance, split, indices, layer=2, pool=2)
    torch.testing.assert_close(third, nn.functional.adaptive_avg_pool2d(expected[2], 2).flatten(1))


def test_colours_tell_what_speaks_for_and_against() -> None:
    picture = coloured(torch.tensor([[[[4.0, 0.0, -2.0]]], [[[0.0, 0.0, 0.0]]]]))
    red, white, pale_blue = [1.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, 0.5, 1.0]
    torch.testing.assert_close(picture[0, :, 0].T, torch.tensor([red, white, pale_blue]))
    assert (picture[1] == 1).all()
