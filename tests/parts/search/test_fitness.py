from __future__ import annotations

import pytest
import torch
from torch import nn

from study.parts.network.places import Entries, write
from study.parts.search.fitness import SoftCount, TwoLosses
from study.parts.search.patches import Scores, patches
from study.problem.prediction import predict
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


def test_a_right_answer_counts_one_a_wrong_one_less_the_farther_it_is_and_targets_count_alpha_times() -> None:
    problem = digits_problem()
    places = Entries(("net.layers.5.weight",), torch.zeros(1, dtype=torch.long), torch.tensor([3]))
    evaluation = patches(problem.faulty, places, problem.repair_set, torch.arange(4))
    fitness = SoftCount(evaluation, torch.tensor([True, True, False, False]), 4.0)
    assert fitness.ceiling == 4 + 4 + 1 + 1
    right, loss = torch.tensor([[True, False, True, False]]), torch.tensor([[0.5, 1.0, 0.2, 3.0]])
    fitness.evaluation = Fixed(Scores(right, loss))  # type: ignore[assignment]
    assert fitness(places.values(problem.faulty)[None]).item() == pytest.approx(4 * (1 + 1 / 2) + 1 + 1 / 4)


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("layer", [0, -1])
def test_two_losses_are_those_of_a_loop_over_written_models(problem: Problem, shares: bool, layer: int) -> None:
    name = [name for name, module in problem.faulty.named_modules() if isinstance(module, nn.Linear)][layer]
    places = Entries((f"{name}.weight",), torch.zeros(2, dtype=torch.long), torch.tensor([21, 44]))
    indices = torch.cat([problem.failing, problem.passing[:50]])
    evaluation = patches(problem.faulty, places, problem.repair_set, indices)
    fitness = TwoLosses(evaluation, torch.isin(indices, problem.failing), 2.5, shares=shares)
    values = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    expected = []
    for row in values:
        model = problem.copy()
        write(model, places, row)
        total = 0.0
        for weight, some in ((1.0, problem.failing), (2.5, problem.passing[:50])):
            part = problem.repair_set.subset(some)
            logits = predict(model, part)
            count = int((logits.argmax(1) == part.labels).sum())
            loss = float(nn.functional.cross_entropy(logits, part.labels))
            total += weight * ((count / len(some) if shares else count) + 1) / (loss + 1)
        expected.append(total)
    assert fitness(values).tolist() == pytest.approx(expected, rel=1e-5)
    assert fitness.ceiling == (2 + 2 * 2.5 if shares else len(problem.failing) + 1 + 2.5 * 51)
    assert max(expected) < fitness.ceiling


def test_a_loss_without_end_spoils_one_term_alone() -> None:
    problem = digits_problem()
    places = Entries(("net.layers.5.weight",), torch.zeros(1, dtype=torch.long), torch.tensor([3]))
    indices = torch.cat([problem.failing, problem.passing])
    evaluation = patches(problem.faulty, places, problem.repair_set, indices)
    fitness = TwoLosses(evaluation, torch.isin(indices, problem.failing), shares=True)
    right = torch.ones(1, len(indices), dtype=torch.bool)
    loss = torch.zeros(1, len(indices))
    loss[0, 0] = torch.inf  # of a failing input
    fitness.evaluation = Fixed(Scores(right, loss))  # type: ignore[assignment]
    assert fitness(places.values(problem.faulty)[None]).item() == pytest.approx(2.0)


class Fixed:
    """Scores that are given."""

    def __init__(self, given: Scores) -> None:
        self.given = given

    def scores(self, values: torch.Tensor, rows: slice) -> Scores:
        return Scores(*(each[:, rows] for each in self.given))
