"""What an approach sees of a subject, and what it cannot reach."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from study.config.keys import Keys
from study.job import problem_of
from study.problem.pool import Pool
from study.problem.prediction import predict
from study.problem.problem import Problem
from study.storage.models import weights_hash
from tests import problems
from tests.commands import prepared


def reachable(thing: Any, seen: dict[int, Any]) -> Iterator[Tensor]:
    """Every tensor that can be reached from `thing` through attributes, containers, bound methods and closures."""
    if id(thing) in seen or isinstance(thing, type(pytest)):
        return
    seen[id(thing)] = thing
    if isinstance(thing, Tensor):
        yield thing
    parts: list[Any] = list(getattr(thing, "__dict__", {}).values())
    parts += [getattr(thing, "__self__", None)]
    parts += [cell.cell_contents for cell in getattr(thing, "__closure__", None) or ()]
    if isinstance(thing, Mapping):
        parts += thing.values()
    elif isinstance(thing, (list, tuple, set)):
        parts += thing
    if not isinstance(thing, type):
        for part in parts:
            yield from reachable(part, seen)


def job_and_problem() -> tuple[Any, Problem]:
    (job,) = prepared("faulty.epochs=2", "trainer.threads=1", "trainer.progress=false")
    job.data.load(0)
    return job, problem_of(job, Keys.of(job), job.data.splits)


def test_the_test_split_cannot_be_reached() -> None:
    job, problem = job_and_problem()
    test = job.data.splits["test"].tensors()
    hidden = {tensor.untyped_storage().data_ptr() for tensor in (test.inputs, test.labels)}
    seen = list(reachable(problem, {}))
    assert any(tensor is problem.repair_set.labels for tensor in seen)
    assert not [tensor.shape for tensor in seen if tensor.untyped_storage().data_ptr() in hidden]
    assert not [tensor.shape for tensor in seen if torch.equal(tensor, test.inputs) or torch.equal(tensor, test.labels)]
    assert 1797 not in {len(tensor) for tensor in seen if tensor.dim()}  # the whole data set


def test_failing_and_passing_part_the_repair_split() -> None:
    problem = problems.digits_problem()
    both = torch.cat([problem.failing, problem.passing])
    assert torch.equal(both.sort().values, torch.arange(len(problem.repair_set)))
    wrong = predict(problem.faulty, problem.repair_set).argmax(1) != problem.repair_set.labels
    assert torch.equal(wrong.nonzero().flatten(), problem.failing)


def test_a_copy_shares_no_tensor_with_the_faulty_model() -> None:
    problem = problems.digits_problem(batch_norm=True)
    copy = problem.copy()
    ours, theirs = (
        {tensor.data_ptr() for tensor in [*model.parameters(), *model.buffers()]} for model in (copy, problem.faulty)
    )
    assert len(ours) == len(theirs) and not ours & theirs
    assert weights_hash(copy) == weights_hash(problem.faulty)
    assert not copy.training


def test_fresh_is_the_architecture_with_weights_that_its_seed_determines() -> None:
    problem = problems.digits_problem(batch_norm=True)
    state = torch.get_rng_state()
    first, again, other = problem.fresh(1), problem.fresh(1), problem.fresh(2)
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(first, nn.Module) and isinstance(again, nn.Module) and isinstance(other, nn.Module)
    assert weights_hash(first) == weights_hash(again) != weights_hash(other)
    assert first.state_dict().keys() == problem.faulty.state_dict().keys()
    assert not first.training


def test_an_opaque_module_cannot_be_fresh() -> None:
    assert dataclasses.replace(problems.digits_problem(), make_model=None).fresh(0) is None


def test_streams_belong_to_the_jobs_seed() -> None:
    problem = problems.digits_problem()
    other = dataclasses.replace(problem, seed=1)
    draws = [torch.rand(3, generator=p.stream(name)) for p, name in ((problem, "a"), (problem, "a"), (other, "a"))]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    seeds = {problem.seed_of("a"), problem.seed_of("b"), other.seed_of("a")}
    assert len(seeds) == 3 and all(0 <= seed < 2**31 for seed in seeds)


def test_the_pool_counts_each_label_once() -> None:
    problem = problems.digits_problem()
    pool = problem.pool
    assert len(pool) == 400 and not len(pool.revealed)
    assert torch.equal(pool.inputs(), problem.repair_set.tensors().inputs)
    asked = torch.tensor([7, 3, 7])
    assert torch.equal(pool.reveal(asked), problem.repair_set.labels[asked])
    pool.reveal(torch.tensor([3, 9]))
    assert pool.revealed.tolist() == [3, 7, 9]
    assert problem.pool is pool


def test_the_pool_shows_no_labels() -> None:
    pool = Pool(problems.digits_splits()["repair"])
    assert not [name for name in dir(pool) if "label" in name]
    assert not len(pool.revealed)
