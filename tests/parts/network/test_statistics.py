import pytest
import torch
from torch import nn

from study.parts.network.places import Entries
from study.parts.network.statistics import parameter_statistics


def test_each_place_has_the_statistics_of_its_own_parameter() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].weight.data = torch.tensor([[-1.0, 3.0], [0.0, 2.0]])
    model[1].bias.data = torch.tensor([7.0])
    places = Entries(("0.weight", "1.bias"), torch.tensor([1, 0, 0]), torch.tensor([0, 3, 1]))
    mean, std, low, high = parameter_statistics(model, places)
    assert mean.tolist() == [7.0, 1.0, 1.0]
    assert std.tolist() == pytest.approx([0.0, 2.5**0.5, 2.5**0.5])
    assert low.tolist() == [7.0, -1.0, -1.0] and high.tolist() == [7.0, 3.0, 3.0]
