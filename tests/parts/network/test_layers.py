from __future__ import annotations

import pytest
import torch
from torch import nn

from study.errors import NotApplicable
from study.parts.network.layers import calls_of, last_linear


def test_calls_come_in_the_order_they_run_with_the_shape_of_their_output() -> None:
    twice = nn.Linear(4, 4)
    model = nn.ModuleDict({"late": nn.Flatten(), "twice": twice})
    model.forward = lambda inputs: model["late"](twice(twice(inputs)))
    calls = calls_of(model, torch.rand(2, 3, 4), lambda module: module is not model)
    assert [call.name for call in calls] == ["twice", "twice", "late"]
    assert [tuple(call.shape) for call in calls] == [(2, 3, 4), (2, 3, 4), (2, 12)]
    assert calls[0].module is twice and not any(module._forward_hooks for module in model.modules())


def test_without_a_linear_layer_there_is_no_last_one() -> None:
    with pytest.raises(NotApplicable, match="no Linear layer"):
        last_linear(nn.Sequential(nn.Flatten(), nn.ReLU()), torch.rand(2, 4))
