from __future__ import annotations

import pytest
import torch
from torch import nn

from study.parts.network.places import Entries
from study.parts.search.fitness import SoftCount
from study.parts.search.patches import patches
from study.problem.problem import Problem
from tests.problems import digits_problem


@pytest.fixture(params=[False, True], ids=["plain", "batch_norm"])
def problem(request: pytest.FixtureRequest) -> Problem:
    return digits_problem(batch_norm=request.param)


def test_a_floor_drops_only_what_lies_below_it(problem: Problem) -> None:
    names = [name for name, module in problem.faulty.named_modules() if isinstance(module, nn.Linear)]
    for place in (names[0], names[-1]):
        places = Entries((f"{place}.weight",), torch.zeros(2, dtype=torch.long), torch.tensor([3, 40]))
        indices = torch.cat([problem.failing, problem.passing])
        evaluation = patches(problem.faulty, places, problem.repair_set, indices)
        fitness = SoftCount(evaluation, torch.isin(indices, problem.failing), 10.0)
        values = torch.randn(30, 2, generator=torch.Generator().manual_seed(0)) * 2
        exact = fitness(values)
        floors = exact.flip(0)
        quick = fitness(values, floors)
        torch.testing.assert_close(quick[exact >= floors], exact[exact >= floors])
        assert bool((quick[exact < floors] < floors[exact < floors]).all())
        assert exact.max() <= fitness.ceiling
