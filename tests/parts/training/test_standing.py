"""How a model stands against the faulty one."""

from __future__ import annotations

import torch
from torch import nn

from study.data.split import Split
from study.parts.training.standing import Measure
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from tests.problems import RECIPE


def with_bias(bias: float) -> nn.Module:
    """Says class 1 for inputs above -`bias`."""
    model = nn.Linear(1, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0], [1.0]]))
        model.bias.copy_(torch.tensor([0.0, bias]))
    return model.eval()


def test_counts_repairs_on_the_failing_inputs_and_flips_on_validation() -> None:
    model = with_bias(0.0)
    validation = Split("validation", torch.tensor([[-3.0], [-0.5], [2.0], [-1.0]]), torch.tensor([0, 0, 1, 1]))
    repair = Split("repair", torch.tensor([[-0.5], [-0.2], [4.0], [1.0]]), torch.tensor([1, 1, 1, 0]))
    problem = Problem(
        faulty=model,
        train=repair,
        validation=validation,
        repair_set=repair,
        failing=torch.tensor([0, 1, 3]),
        passing=torch.tensor([2]),
        task=TaskSpec(model, "table", 2, (1,)),
        recipe=RECIPE,
        seed=0,
    )
    measure = Measure(problem)
    before, after = measure(model), measure(with_bias(0.6))
    assert (before.validation_accuracy, before.negative_flip_rate, before.repair_rate) == (0.75, 0.0, 0.0)
    assert (after.validation_accuracy, after.negative_flip_rate, after.repair_rate) == (0.5, 0.25, 2 / 3)
