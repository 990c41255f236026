import torch

from study.parts.selection.given_inputs import GivenInputs
from tests.problems import digits_problem


def test_failing_ones_come_first_and_passing_ones_are_not_wanted() -> None:
    problem = digits_problem()
    given = GivenInputs.of(problem, None, 20)
    count = len(problem.failing)
    assert torch.equal(given.indices[:count], problem.failing)
    assert set(given.indices[count:].tolist()) < set(problem.passing.tolist())
    assert given.wanted.tolist() == [True] * count + [False] * 20
    assert torch.equal(given.split.labels, problem.repair_set.labels[given.indices])


def test_fewer_points_are_some_of_more_and_there_are_no_more_than_there_are() -> None:
    problem = digits_problem()
    few, more = (GivenInputs.of(problem, points, 10**6) for points in (3, 9))
    assert set(few.indices[:3].tolist()) < set(more.indices[:9].tolist())
    assert len(few.indices) == 3 + len(problem.passing)
