from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.parts.network.layers import weighted_layers
from study.parts.network.places import Entries, write
from study.parts.search.error_count import ErrorCount, Errors
from study.parts.selection.repair_inputs import by_margin
from study.problem.problem import Problem
from tests.networks import Plain
from tests.problems import digits_problem, digits_splits, problem_of


def entries_of(model: nn.Module, spacing: int) -> Entries:
    """Some entries of all layers."""
    layers = weighted_layers(model, torch.zeros(2, 1, 8, 8))
    size = sum(model.get_parameter(f"{name}.weight").numel() for name in layers)
    return Entries.pooled(model, layers, torch.arange(0, size, spacing))


def patched_values(model: nn.Module, places: Entries, count: int, sigma: float = 0.5) -> Tensor:
    """Patches of which some leave early layers as they are, and the last all of them."""
    values = places.values(model).repeat(count, 1)
    noise = torch.randn(values.shape, generator=torch.Generator().manual_seed(0))
    late = places.owner[None] >= torch.arange(count)[:, None] % (len(places.names) + 1)
    return torch.where(late, values + sigma * noise * values.abs().mean(), values)


def one_by_one(problem: Problem, indices: Tensor, places: Entries, values: Tensor) -> list[tuple[int, float]]:
    """Every patch written into a copy of the model, which is then run whole."""
    split, found = problem.repair_set.subset(indices), []
    for row in values:
        model = copy.deepcopy(problem.faulty)
        write(model, places, row)
        with torch.no_grad():
            logits = model(split.inputs)
        loss = functional.cross_entropy(logits, split.labels, reduction="sum").item()
        found.append((int((logits.argmax(1) != split.labels).sum()), loss))
    return found


@pytest.fixture(params=["plain", "batch_norm", "untraceable"])
def problem(request: pytest.FixtureRequest) -> Problem:
    if request.param == "untraceable":
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return problem_of(Plain().eval(), digits_splits())
    return digits_problem(batch_norm=request.param == "batch_norm")


def test_errors_equal_a_loop_over_patched_networks(problem: Problem) -> None:
    indices = by_margin(problem, torch.cat([problem.failing, problem.passing]))
    places = entries_of(problem.faulty, 5)
    values = patched_values(problem.faulty, places, 9)
    count = ErrorCount(problem.faulty, problem.repair_set, indices)
    found, expected = count(places, values), one_by_one(problem, indices, places, values)
    assert found.wrong.tolist() == [wrong for wrong, _ in expected]
    assert found.loss.tolist() == pytest.approx([loss for _, loss in expected], rel=1e-4)
    assert len(set(found.wrong.tolist())) > 3
    assert (count.evaluations, count.items) == (9, 9 * len(indices))


def test_what_loses_against_the_rivals_is_dropped_early_and_nothing_else_is_touched() -> None:
    problem = digits_problem()
    indices = by_margin(problem, torch.cat([problem.failing, problem.passing]))
    places = entries_of(problem.faulty, 5)
    values = patched_values(problem.faulty, places, 40)
    exact = ErrorCount(problem.faulty, problem.repair_set, indices)(places, values).tallies()
    rivals = sorted(exact)[10:20]
    quick = ErrorCount(problem.faulty, problem.repair_set, indices)
    found = quick(places, values, Errors(*(torch.tensor(part) for part in zip(*rivals, strict=True)))).tallies()
    floor = sorted(exact + rivals)[9]  # the ten best of rivals and networks
    for mine, whole in zip(found, exact, strict=True):
        assert mine == whole or (mine > floor and whole > floor)
    assert sum(mine != whole for mine, whole in zip(found, exact, strict=True)) > 10
    assert quick.items < 0.8 * 40 * len(indices)


def test_a_network_that_ties_with_the_worst_rival_is_kept() -> None:
    problem = digits_problem()
    indices = by_margin(problem, torch.cat([problem.failing, problem.passing]))
    places = entries_of(problem.faulty, 5)
    values = patched_values(problem.faulty, places, 3)[1:2]
    count = ErrorCount(problem.faulty, problem.repair_set, indices)
    exact = count(places, values)
    assert count(places, values, exact).tallies() == exact.tallies()


def test_answers_without_a_number_are_wrong_and_worst() -> None:
    problem = digits_problem()
    indices = torch.cat([problem.failing, problem.passing])
    places = entries_of(problem.faulty, 5)
    values = torch.full((1, len(places)), math.nan)
    found = ErrorCount(problem.faulty, problem.repair_set, indices)(places, values)
    assert found.tallies() == [(len(indices), math.inf)]
