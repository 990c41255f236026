from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.parts.network.feature_bounds import feature_bounds, follows_relu
from study.parts.network.structure import Structure


class Functional(nn.Module):
    """The ReLU and the reshaping before the head are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 2, 3), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.out(functional.relu(self.conv(inputs)).view(-1, 8))
        return logits


def convolutional(*between: nn.Module) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 2, 3), *between, nn.Flatten(), nn.LazyLinear(3))


def images(count: int = 40) -> Tensor:
    return torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def structure(net: nn.Module) -> Structure:
    net(images())  # lazy layers take their shape
    return Structure(net.eval())


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (convolutional(nn.ReLU()), True),
        (convolutional(nn.ReLU(), nn.MaxPool2d(2), nn.Dropout()), True),
        (Functional(), True),
        (convolutional(), False),
        (convolutional(nn.LeakyReLU()), False),
        (convolutional(nn.ReLU(), nn.BatchNorm2d(2)), False),
    ],
)
def test_only_pooling_and_reshaping_keep_features_of_a_relu_from_being_negative(net: nn.Module, expected: bool) -> None:
    assert follows_relu(structure(net)) is expected


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU()])
def test_bounds_are_those_of_the_split_widened_to_hold_the_points_and_zero_below_a_relu(activation: nn.Module) -> None:
    net = structure(convolutional(activation))
    for parameter in net.model[0].parameters():
        parameter.data.abs_()  # no feature of the split is 0
    features = net.model[:3](images(3000) + 1).double().detach()
    split = Split("train", images(3000) + 1, torch.zeros(3000, dtype=torch.int64))
    points = torch.stack([features.mean(0), features.amax(0) + 1])
    lower, upper = feature_bounds(net, split, points, "auto")
    assert torch.equal(upper, points[1])
    rectified = isinstance(activation, nn.ReLU)
    assert features.amin() > 0
    assert torch.equal(lower, torch.zeros_like(lower) if rectified else features.amin(0))


def test_explicit_bounds_hold_for_every_feature_and_admit_the_points() -> None:
    points = torch.tensor([[0.0, -3.0], [0.5, 0.2]]).double()
    lower, upper = feature_bounds(
        structure(convolutional()), Split("train", images(), torch.zeros(40)), points, (-0.1, 0.3)
    )
    assert lower.tolist() == [-0.1, -3.0] and upper.tolist() == [0.5, 0.3]
