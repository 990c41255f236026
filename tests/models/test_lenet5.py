"""LeNet5 has the layers of the study, at every size that they fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from study.errors import UsageError
from study.models.lenet5 import LeNet5


def test_layers_on_mnist_are_those_of_the_study() -> None:
    net = LeNet5(input_shape=(1, 28, 28), num_classes=10)
    shapes = [tuple(layer.weight.shape) for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert shapes == [(6, 1, 5, 5), (16, 6, 3, 3), (120, 144), (84, 120), (10, 84)]
    assert [layer.kernel_size for layer in net.modules() if isinstance(layer, nn.MaxPool2d)] == [3, 2]
    assert sum(isinstance(layer, nn.ReLU) for layer in net.modules()) == 4
    assert not any(layer.padding != (0, 0) for layer in net.modules() if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 17), (1, 28, 28), (3, 32, 32), (3, 45, 64), (1, 19, 101)])
def test_every_size_from_16_up(shape: tuple[int, int, int]) -> None:
    net = LeNet5(input_shape=shape, num_classes=7)
    assert net(torch.zeros(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 15, 28), (1, 28, 15), (64,), (28, 28)])
def test_what_does_not_fit_is_refused_with_a_way_out(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"at least 16x16.*try architecture=(small_cnn or )?mlp") as refusal:
        LeNet5(input_shape=shape, num_classes=10)
    assert "x".join(map(str, shape)) in str(refusal.value)
