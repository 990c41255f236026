"""REASSURE's first step on a hand-made head: which points share a region, and what its patch has to make up for."""

import pytest
import torch
from torch import nn

from study.methods.layer_level.reassure import patched_regions
from study.models.piecewise_linear import PiecewiseLinear


def head() -> PiecewiseLinear:
    """One input, units relu(x) and relu(-x), and the logits (0, relu(x), relu(-x))."""
    hidden, out = nn.Linear(1, 2), nn.Linear(2, 3)
    hidden.weight.data, hidden.bias.data = torch.tensor([[1.0], [-1.0]]), torch.zeros(2)
    out.weight.data, out.bias.data = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.zeros(3)
    return PiecewiseLinear([hidden, nn.ReLU(), out]).double()


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_patch_of_a_region_makes_all_its_points_right_whichever_comes_last(order: list[int]) -> None:
    points = torch.tensor([[3.0], [1.0]]).double()[order]
    (patch,), repairable = patched_regions(head(), points, torch.tensor([0, 0]), 0.5)
    assert repairable == 2 and patch.pattern.tolist() == [True, False]
    assert patch.excess.tolist() == [0.0, 3.5, 0.5]
    assert patch.shift.tolist() == [1.75, -1.75, 0.0]  # half for the label, half off the class ahead


def test_each_region_has_a_patch_and_the_first_class_in_it_decides() -> None:
    points = torch.tensor([[2.0], [-1.0], [4.0]]).double()
    patches, repairable = patched_regions(head(), points, torch.tensor([0, 1, 2]), 0.0)
    assert [(patch.label, patch.pattern.tolist()) for patch in patches] == [(0, [True, False]), (1, [False, True])]
    assert repairable == 2 and patches[0].excess.tolist() == [0.0, 2.0, 0.0]
