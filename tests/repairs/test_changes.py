"""How many of a model's weights a repair changed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.models.classifier import Classifier
from study.models.mlp import MLP
from study.models.votes import SoftVote, UnanimousVote
from study.repairs.changes import changed_share


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
