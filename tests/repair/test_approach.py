"""The two kinds of approach: ordinary training, and a search that a Trainer advances round by round."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from study.data.split import Batch
from study.errors import RepairFailed
from study.problem.prediction import accuracy
from study.problem.problem import Problem
from study.repair.approach import FineTuning, Level, Patching, Rounds
from study.runtime.fit import Curves, fit
from study.storage.models import weights_hash
from tests.problems import HARDWARE, digits_problem


class Tuned(FineTuning):
    """Ordinary training that can be told what each epoch scores."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "test"

    def __init__(self, scores: Sequence[float | None] = (), passes: int = 1) -> None:
        super().__init__()
        self.scores = scores
        self.passes = len(scores) or passes
        self.states: list[str] = []
        self.modes: set[bool] = set()

    @property
    def epochs(self) -> int:
        return self.passes

    def loss(self, batch: Batch) -> Tensor:
        self.modes |= {module.training for module in self.model.modules()}
        return super().loss(batch)

    def select(self, epoch: int) -> float | None:
        self.states.append(weights_hash(self.model))
        return self.scores[epoch] if self.scores else super().select(epoch)


class Searched(Patching):
    """Yields what it is given, then returns or raises what it is given."""

    level: ClassVar[Level] = "neuron"
    source: ClassVar[str] = "test"

    def __init__(self, logs: Sequence[dict[str, Any]], end: nn.Module | Exception | None) -> None:
        super().__init__()
        self.logs = logs
        self.end = [end]  # in a list, as a module would become a part of the approach

    def rounds(self, problem: Problem) -> Rounds:
        yield from self.logs
        (end,) = self.end
        if isinstance(end, Exception):
            raise end
        return end  # type: ignore[return-value]


def fitted(approach: FineTuning | Patching, problem: Problem | None = None) -> Curves:
    curves = Curves()
    approach.begin(problem or digits_problem())
    limits = {"epochs": approach.epochs, "steps": approach.steps}
    fit(approach, HARDWARE, loader=approach.batches(), curves=curves, **limits)
    return curves


def test_fine_tuning_trains_a_copy_from_the_faulty_weights() -> None:
    problem, approach = digits_problem(), Tuned(passes=2)
    before = weights_hash(problem.faulty)
    curves = fitted(approach, problem)
    repaired = approach.repaired()
    assert weights_hash(problem.faulty) == before != weights_hash(repaired)
    assert not any(module.training for module in repaired.modules())
    assert accuracy(repaired, problem.validation) > 0.85
    assert approach.costs() == {"steps": 2 * math.ceil(800 / 64)}
    assert [step for step, _ in curves.values["validation/accuracy"]] == [13, 26]
    assert len(curves.values["validation/loss"]) == 2


def test_a_network_copied_in_eval_mode_is_trained_in_train_mode_after_every_epoch() -> None:
    problem, approach = digits_problem(batch_norm=True), Tuned(passes=3)
    fitted(approach, problem)
    assert approach.modes == {True}
    old, new = problem.faulty.state_dict(), approach.repaired().state_dict()
    statistics = [name for name in old if "running" in name]
    assert len(statistics) == 4
    assert all(not torch.equal(old[name], new[name]) for name in statistics)


def test_the_best_epoch_is_kept_and_of_equals_the_earliest() -> None:
    approach = Tuned([0.2, 0.9, 0.9, 0.1])
    fitted(approach)
    assert len(set(approach.states)) == 4
    assert weights_hash(approach.repaired()) == approach.states[1]


def test_without_a_score_the_last_epoch_is_kept() -> None:
    approach = Tuned([None, None, None])
    fitted(approach)
    assert weights_hash(approach.repaired()) == approach.states[2]


def test_the_usual_score_is_validation_accuracy() -> None:
    problem, approach = digits_problem(), Tuned(passes=3)
    curve = fitted(approach, problem).values["validation/accuracy"]
    assert accuracy(approach.repaired(), problem.validation) == max(score for _, score in curve)


def test_an_approach_can_be_begun_again() -> None:
    approach = Tuned([0.9, 0.5])
    fitted(approach)
    first = approach.states[0]
    approach.scores, approach.states = [0.1, 0.5], []
    fitted(approach)
    assert approach.states[0] == first
    assert weights_hash(approach.repaired()) == approach.states[1]
    assert approach.costs() == {"steps": 26}


def test_rounds_are_logged_and_what_they_return_is_the_result() -> None:
    result = digits_problem().copy().train()
    approach = Searched([{"fitness": 1.0}, {"fitness": torch.tensor(0.5), "fixed": 3}, {}, {"fitness": 0.25}], result)
    curves = fitted(approach)
    assert curves.values == {"fitness": [(0, 1.0), (1, 0.5), (3, 0.25)], "fixed": [(1, 3.0)]}
    assert approach.repaired() is result
    assert not result.training


def test_a_search_without_rounds_ends_at_once() -> None:
    result = digits_problem().copy()
    approach = Searched([], result)
    assert not fitted(approach).values
    assert approach.repaired() is result


def test_a_result_does_not_become_a_part_of_the_approach() -> None:
    approach = Searched([], digits_problem().copy())
    fitted(approach)
    assert not list(approach.parameters())


def test_a_search_that_returns_nothing_is_no_repair() -> None:
    approach = Searched([{"fitness": 1.0}], None)
    fitted(approach)
    with pytest.raises(RepairFailed, match="ended without a result"):
        approach.repaired()


def test_what_a_search_raises_gets_through() -> None:
    with pytest.raises(RepairFailed, match="no candidate"):
        fitted(Searched([{}], RepairFailed("no candidate")))


def test_rounds_may_differentiate() -> None:
    class Gradient(Searched):
        def rounds(self, problem: Problem) -> Rounds:
            model, batch = problem.copy(), problem.repair_set.tensors()
            loss = nn.functional.cross_entropy(model(batch.inputs), batch.labels)
            loss.backward()
            yield {"gradient": sum(float(p.grad.abs().sum()) for p in model.parameters() if p.grad is not None)}
            return model

    curves = fitted(Gradient([], None))
    assert curves.values["gradient"][0][1] > 0


def test_a_search_can_be_begun_again() -> None:
    first, second = digits_problem().copy(), digits_problem().copy()
    approach = Searched([], first)
    fitted(approach)
    approach.end = [second]
    fitted(approach)
    assert approach.repaired() is second
