from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.parts.network.hidden_layer import HiddenLayer
from study.parts.training.neuron_targets import TinyNetwork, interval_loss, output_loss, train_neuron, write_neuron
from study.runtime.randomness import forked

NUMBER = 2


def head(kind: str) -> nn.Sequential:
    """A small network in float64 whose BatchNorms have statistics."""
    with forked(0, "init"):
        nets = {
            "plain": [nn.Linear(4, 5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)],
            "norms": [nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 3)],
            "no bias": [nn.Linear(4, 5, bias=False), nn.ReLU(), nn.Linear(5, 3, bias=False)],
            "features": [nn.Linear(5, 3)],
        }
        net = nn.Sequential(*nets[kind]).double().eval()
        for norm in (module for module in net if isinstance(module, nn.BatchNorm1d)):
            for tensor in (norm.running_mean, norm.running_var, *norm.parameters()):
                nn.init.uniform_(tensor, 0.5, 2)  # type: ignore[arg-type]
    return net


def vectors(width: int) -> Tensor:
    return torch.randn(40, width, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("kind", ["plain", "norms", "no bias", "features"])
def test_the_trained_neuron_in_its_network_is_the_tiny_network_in_its_place(kind: str) -> None:
    net = head(kind)
    before = copy.deepcopy(net)
    entering = vectors(net[0].in_features)
    layer = HiddenLayer.of(net, entering[:2], features=True)
    tiny = TinyNetwork(layer, NUMBER)
    values = layer.values(entering)
    torch.testing.assert_close(tiny(entering), values[:, NUMBER])
    loss = interval_loss(torch.full((40,), 1.0).double(), torch.full((40,), 1.5).double())
    everything = torch.arange(40)
    first = loss(tiny(entering), everything)
    train_neuron(tiny, entering, loss, epochs=20, batch_size=8, lr=0.01, generator=torch.Generator().manual_seed(0))
    assert loss(tiny(entering), everything) < 0.8 * first
    replaced = values.detach().clone()
    replaced[:, NUMBER] = tiny(entering).detach()
    expected = layer.logits(replaced)
    write_neuron(layer, NUMBER, tiny)
    torch.testing.assert_close(net(entering), expected)
    old, changed = before.state_dict(), set()
    for name, tensor in net.state_dict().items():
        changed |= {(name, *place) for place in (tensor != old[name]).nonzero().tolist()}
    reader = layer.names[-1]
    allowed = {(f"{reader}.weight", row, NUMBER) for row in range(layer.reader.out_features)}
    allowed |= {(f"{reader}.bias", row) for row in range(layer.reader.out_features)}
    if layer.modules:
        allowed |= {("0.weight", NUMBER, column) for column in range(4)} | {("0.bias", NUMBER)}
    assert changed and changed <= allowed


def test_training_is_adam_on_shuffled_batches_that_skips_a_loss_of_zero() -> None:
    """Against torch's plain Adam, step by step."""
    net, entering = head("plain"), vectors(4)
    tiny = TinyNetwork(HiddenLayer.of(net, entering[:2]), NUMBER)
    slow = copy.deepcopy(tiny)
    present = tiny(entering).detach()
    lower = torch.where(torch.arange(40) < 4, present + 0.5, present - 5)  # most are within their interval
    loss = interval_loss(lower, present + 5)
    steps = train_neuron(
        tiny, entering, loss, epochs=3, batch_size=4, lr=0.01, generator=torch.Generator().manual_seed(9)
    )
    optimizer, generator, skipped = torch.optim.Adam(slow.parameters(), 0.01), torch.Generator().manual_seed(9), 0
    for _ in range(3):
        for rows in torch.randperm(40, generator=generator).split(4):
            outputs = slow(entering[rows])
            low, high = lower[rows], present[rows] + 5
            distance = torch.where(outputs < low, low - outputs, torch.where(outputs > high, outputs - high, 0.0))
            value = (distance**2).sum() / 4
            if value == 0:
                skipped += 1
                continue
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    assert steps == 30 and 0 < skipped < 30
    for name, parameter in tiny.named_parameters():
        torch.testing.assert_close(parameter, slow.get_parameter(name), rtol=0, atol=1e-9)


def test_targets_that_hold_already_change_nothing() -> None:
    net, entering = head("norms"), vectors(4)
    layer, before = HiddenLayer.of(net, entering[:2]), copy.deepcopy(net.state_dict())
    tiny = TinyNetwork(layer, NUMBER)
    present = tiny(entering).detach()
    train_neuron(
        tiny,
        entering,
        interval_loss(present, present),
        epochs=2,
        batch_size=40,
        lr=0.01,
        generator=torch.Generator().manual_seed(0),
    )
    torch.testing.assert_close(tiny(entering), present)
    loss = interval_loss(present - 1, present + 1)
    train_neuron(tiny, entering, loss, epochs=2, batch_size=7, lr=1.0, generator=torch.Generator().manual_seed(0))
    write_neuron(layer, NUMBER, tiny)
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, before[name])


def test_the_output_loss_is_that_of_the_network_with_this_output() -> None:
    net, entering = head("plain"), vectors(4)
    layer, labels = HiddenLayer.of(net, entering[:2]), torch.arange(40) % 3
    loss, rows = output_loss(layer, NUMBER, layer.values(entering), labels), torch.tensor([5, 1, 8])
    tiny = TinyNetwork(layer, NUMBER)
    expected = functional.cross_entropy(net(entering[rows]), labels[rows])
    torch.testing.assert_close(loss(tiny(entering[rows]), rows), expected)
    assert not torch.isclose(loss(tiny(entering[rows]) + 1, rows), expected)
