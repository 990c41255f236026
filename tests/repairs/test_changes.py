"""How many of a model's weights a repair changed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from study.models.classifier import Classifier
from study.models.mlp import MLP
from study.models.votes import SoftVote, UnanimousVote
from study.repairs.changes import LayerChange, added_parameters, changed_share, layer_changes, relative_change


class Beside(nn.Module):
    """The model with a small patch (3 parameters, a buffer of 2) beside it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.patch = nn.Parameter(torch.zeros(3))
        self.register_buffer("scale", torch.ones(2))
        self.inner = model

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.inner(inputs) + self.patch.sum()
        return logits


def small(batch_norm: bool = True) -> Classifier:
    """A model of 4 * 2 + 2 + 2 * 3 + 3 = 19 parameters (4 more with BatchNorm), with normalisation buffers."""
    shape = (1, 2, 2)
    net = MLP(input_shape=shape, num_classes=3, widths=[2], batch_norm=batch_norm)
    return Classifier(net, [0.5], [0.5])


def copied(model: nn.Module) -> Classifier:
    twin = small()
    twin.load_state_dict(model.state_dict())
    return twin


def test_the_changed_share_counts_values_that_differ() -> None:
    before = small()
    after = copied(before)
    assert changed_share(before, after) == 0
    with torch.no_grad():
        after.get_parameter("net.layers.1.weight")[0, :3] += 1
        after.get_parameter("net.layers.4.bias")[1] = torch.nan
        after.get_buffer("net.layers.2.running_mean").add_(1)
    assert changed_share(before, after) == 4 / 23


def test_the_changed_share_of_a_wrapper_counts_what_was_put_beside_the_model() -> None:
    before = small()
    after = Beside(copied(before))
    assert changed_share(before, after) == 5 / 23
    with torch.no_grad():
        after.get_parameter("inner.net.layers.1.weight")[0, 0] += 1
    assert changed_share(before, after) == 6 / 23
    assert changed_share(before, Beside(Beside(copied(before)))) == 10 / 23


def test_the_changed_share_of_voters_counts_each_of_them_once() -> None:
    before = small()
    assert changed_share(before, UnanimousVote(copied(before), 3)) == 3
    assert changed_share(before, SoftVote(copied(before), small(), 0.5)) == 1
    assert changed_share(before, SoftVote(small(), copied(before), 0.5)) == 1


def test_the_changed_share_of_another_architecture_counts_what_is_not_the_same() -> None:
    before = small(batch_norm=False)
    after = small(batch_norm=False)
    after.load_state_dict(before.state_dict())
    after.get_submodule("net.layers").append(nn.Linear(3, 3))  # type: ignore[operator]
    assert changed_share(before, after) == 12 / 19


def test_layers_say_how_many_weights_changed_and_how_far() -> None:
    before = small()
    after = copied(before)
    with torch.no_grad():
        after.get_parameter("net.layers.1.weight")[0, :2] += torch.tensor([3.0, 4.0])
        after.get_parameter("net.layers.1.bias")[0] += 12
    layers = layer_changes(before, after)
    assert [(layer.layer, layer.weights, layer.changed) for layer in layers] == [
        ("net.layers.1", 10, 3),
        ("net.layers.2", 4, 0),
        ("net.layers.4", 9, 0),
    ]
    flat = torch.cat([tensor.flatten() for tensor in before.parameters()])
    assert layers[0].distance == pytest.approx(13, abs=1e-5)
    assert layers[1].norm == pytest.approx(2**0.5) and layers[1].distance == 0  # BatchNorm's weights are 1
    assert relative_change(layers) == pytest.approx(13 / flat.norm().item())
    assert added_parameters(before, after) == 0


def test_a_patch_beside_the_model_adds_parameters_and_moves_none() -> None:
    before = small()
    after = Beside(copied(before))
    assert added_parameters(before, after) == 5
    assert [layer.layer for layer in layer_changes(before, after)] == ["net.layers.1", "net.layers.2", "net.layers.4"]
    assert relative_change(layer_changes(before, after)) == 0
    with torch.no_grad():
        for tensor in after.inner.parameters():
            tensor += 1
    assert [layer.changed for layer in layer_changes(before, after)] == [10, 4, 9]


def test_voters_add_their_parameters() -> None:
    before = small()
    assert added_parameters(before, SoftVote(copied(before), small(), 0.5)) == 23
    assert relative_change(layer_changes(before, SoftVote(small(), copied(before), 0.5))) == 0


def test_layers_that_only_one_model_has_are_no_change_of_weights() -> None:
    before = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    after = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    after[0].load_state_dict(before[0].state_dict())
    (layer,) = layer_changes(before, after)
    assert layer[:3] == ("0", 9, 0)
    assert added_parameters(before, after) == 16
    assert relative_change([]) is None
    assert relative_change([LayerChange("0", 2, 1, 0.0, 1.0)]) is None
