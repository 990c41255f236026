"""The multi-layer perceptron."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from study.models.mlp import MLP


def test_layers_follow_the_widths() -> None:
    net = MLP(input_shape=(3, 4, 5), num_classes=6, widths=[7, 8])
    assert [layer.weight.shape for layer in net.modules() if isinstance(layer, nn.Linear)] == [(7, 60), (8, 7), (6, 8)]
    assert net(torch.zeros(2, 3, 4, 5)).shape == (2, 6)


def test_without_widths_it_is_linear() -> None:
    net = MLP(input_shape=(4,), num_classes=3, widths=[])
    inputs = torch.rand(5, 4)
    last = net.layers[-1]
    assert isinstance(last, nn.Linear)
    assert torch.allclose(net(inputs), inputs @ last.weight.T + last.bias)


def test_batch_norm_stands_between_a_layer_and_its_relu() -> None:
    kinds = [type(layer) for layer in MLP(input_shape=(4,), num_classes=3, widths=[5, 6], batch_norm=True).layers]
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert kinds == [nn.Flatten, *block, *block, nn.Linear]


def test_default_widths_are_not_shared() -> None:
    assert sum(parameter.numel() for parameter in MLP(input_shape=(1, 8, 8), num_classes=10).parameters()) == 6570


@pytest.mark.parametrize("arguments", [{"widths": [0]}, {"num_classes": 1}, {"depth": 3}])
def test_arguments_are_checked(arguments: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MLP(**({"input_shape": (4,), "num_classes": 3} | arguments))  # type: ignore[arg-type]
