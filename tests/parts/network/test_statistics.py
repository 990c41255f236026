import pytest
import torch
from torch import nn

from study.parts.network.places import Entries
from study.parts.network.statistics import doubled_range, normal_values, parameter_statistics


def test_each_place_has_the_statistics_of_its_own_parameter() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].weight.data = torch.tensor([[-1.0, 3.0], [0.0, 2.0]])
    model[1].bias.data = torch.tensor([7.0])
    places = Entries(("0.weight", "1.bias"), torch.tensor([1, 0, 0]), torch.tensor([0, 3, 1]))
    mean, std, low, high = parameter_statistics(model, places)
    assert mean.tolist() == [7.0, 1.0, 1.0]
    assert std.tolist() == pytest.approx([0.0, 2.5**0.5, 2.5**0.5])
    assert low.tolist() == [7.0, -1.0, -1.0] and high.tolist() == [7.0, 3.0, 3.0]


def test_new_values_are_drawn_from_the_layer_and_bounded_by_twice_its_range() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].weight.data = torch.tensor([[-1.0, 3.0], [0.0, 2.0]])
    model[1].weight.data = torch.tensor([[2.0, 4.0]])
    places = Entries(("0.weight", "1.weight"), torch.tensor([1, 0]), torch.tensor([0, 3]))
    lower, upper = doubled_range(model, places)
    assert lower.tolist() == [1.0, -2.0] and upper.tolist() == [8.0, 6.0]
    noise = torch.randn(50, 2, generator=torch.Generator().manual_seed(3))
    drawn = normal_values(model, places, 50, torch.Generator().manual_seed(3))
    torch.testing.assert_close(drawn, torch.tensor([3.0, 1.0]) + torch.tensor([1.0, 2.5**0.5]) * noise)
