from __future__ import annotations

import torch

from study.parts.selection.repair_inputs import (
    by_margin,
    failing_sample,
    most_frequent_error,
    passing_sample,
    random_failing,
)
from study.problem.prediction import predict
from tests.problems import digits_problem


def test_the_passing_sample_is_stratified() -> None:
    problem = digits_problem()
    sample = passing_sample(problem, 60, torch.Generator().manual_seed(0))
    assert len(sample.unique()) == len(sample) and bool(torch.isin(sample, problem.passing).all())
    whole = problem.repair_set.labels[problem.passing].bincount()
    expected = (60 * whole / len(problem.passing)).round().clamp(min=1)
    assert problem.repair_set.labels[sample].bincount().tolist() == expected.tolist()
    everything = passing_sample(problem, len(problem.passing), torch.Generator())
    assert torch.equal(everything, problem.passing)


def test_the_hardest_inputs_come_first() -> None:
    problem = digits_problem()
    order = by_margin(problem, torch.cat([problem.passing, problem.failing]))
    probability = predict(problem.faulty, problem.repair_set).softmax(1)
    right = probability.argmax(1) == problem.repair_set.labels
    assert sorted(order.tolist()) == list(range(len(problem.repair_set)))
    assert not right[order[: len(problem.failing)]].any() and bool(right[order[len(problem.failing) :]].all())


def test_the_most_frequent_error_is_that_of_most_failing_inputs() -> None:
    problem = digits_problem()
    given = predict(problem.faulty, problem.repair_set).argmax(1)
    pairs = [(int(problem.repair_set.labels[i]), int(given[i])) for i in problem.failing]
    most = max(map(pairs.count, pairs))
    found = most_frequent_error(problem).tolist()
    kinds = {pair for index, pair in zip(problem.failing.tolist(), pairs, strict=True) if index in found}
    assert most > min(map(pairs.count, pairs)) and len(found) == most
    assert kinds == {min(pair for pair in pairs if pairs.count(pair) == most)}


def test_a_share_of_the_failing_inputs_is_never_empty() -> None:
    problem = digits_problem()
    generator = torch.Generator().manual_seed(0)
    half = random_failing(problem, 0.5, generator)
    assert len(half.unique()) == len(half) == len(problem.failing) // 2
    assert bool(torch.isin(half, problem.failing).all())
    assert len(random_failing(problem, 1e-9, generator)) == 1


def test_a_sample_is_of_failing_inputs_in_order_the_same_each_time_and_part_of_a_larger_one() -> None:
    problem = digits_problem()
    few, more = failing_sample(problem, 4), failing_sample(problem, 9)
    assert len(few) == 4 and len(more) == 9
    assert torch.isin(few, more).all() and torch.isin(more, problem.failing).all()
    assert torch.equal(more, more.sort().values)
    assert torch.equal(few, failing_sample(problem, 4))
    assert few.tolist() != problem.failing[:4].tolist()
    assert torch.equal(failing_sample(problem, 10**6), problem.failing)
