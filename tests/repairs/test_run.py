"""The rules that hold for every approach: outcomes, clock, costs, and that the faulty model stays as it is."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from study.errors import NotApplicable, RepairFailed
from study.parts.training.base import Training
from study.problem.problem import Problem
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.repairs.run import run_repair
from study.runtime.fit import Curves, fit
from study.runtime.settings import settings
from tests.problems import HARDWARE, digits_problem, same

Act = Callable[[Problem], nn.Module]


@settings
class Acting(Approach):
    """A search of one round, then `act`."""

    level: ClassVar[Level] = "neuron"
    source: ClassVar[str] = "test"

    act: Any

    def repair(self, problem: Problem) -> Repair:
        yield {"round": 1.0}
        return Repaired(self.act(problem))


def an_epoch(problem: Problem, model: nn.Module | None = None) -> Training:
    """One epoch of ordinary training."""
    model = model or problem.copy()
    batches = problem.train.batches(64, problem.stream("batches"))
    optimizer = problem.recipe.make_optimizer(model.parameters())
    return Training(model, batches, optimizer, max_epochs=1, validation=problem.validation)


@settings
class Tuned(Approach):
    """One epoch of ordinary training, after `first`."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "test"

    first: Any = None

    def repair(self, problem: Problem) -> Repair:
        if self.first is not None:
            self.first(problem)
        training = an_epoch(problem)
        yield training
        return Repaired(training.model)


@settings
class Staged(Tuned):
    """Searches of one round, each followed by an epoch of training; notes in `done` what has ended."""

    acts: Any
    done: Any

    def repair(self, problem: Problem) -> Repair:
        for number, act in enumerate(self.acts):
            yield {"round": 1.0}
            act(problem)
            self.done.append(f"search {number}")
            training = an_epoch(problem)
            yield training
            self.done.append(f"training {number}")
        return Repaired(training.model)


def shifted(problem: Problem) -> nn.Module:
    """The faulty model with a bias so high that it always says the class of the first failing input."""
    model = problem.copy()
    with torch.no_grad():
        list(model.parameters())[-1][problem.repair_set.labels[problem.failing[0]]] += 1e4
    return model


def raising(error: BaseException) -> Act:
    def act(problem: Problem) -> nn.Module:
        raise error

    return act


def untouched(problem: Problem) -> nn.Module:
    return problem.copy()


def test_a_repair_tells_its_costs() -> None:
    problem = digits_problem()
    result = run_repair(Acting(act=shifted), problem, HARDWARE)
    assert (result.outcome, result.reason, result.changed) == ("repaired", "", True)
    assert result.model is not None and not result.model.training
    assert result.curves == {"round": [(0, 1.0)]}
    labels = problem.repair_set.labels[problem.failing]
    assert result.costs["repair_set_fixed"] == int((labels == labels[0]).sum()) / len(labels)
    assert result.costs["weights_changed"] == 1 / sum(p.numel() for p in problem.faulty.parameters())
    assert result.costs["relative_change"] > 0 and result.costs["parameters_added"] == 0
    assert sum(layer.changed for layer in result.layers) == 1
    assert 0 < result.seconds < 60
    assert result.cpu_seconds is not None and 0 < result.cpu_seconds < 60


class Busy(Acting):
    """Sleeps, then works, for a third of a second each."""

    def repair(self, problem: Problem) -> Repair:
        time.sleep(0.3)
        until = time.process_time() + 0.3
        while time.process_time() < until:
            pass
        return Repaired(shifted(problem))
        yield


def test_cpu_time_is_that_of_the_repair_and_does_not_sleep() -> None:
    result = run_repair(Busy(act=shifted), digits_problem(), HARDWARE)
    assert result.cpu_seconds is not None
    assert 0.3 <= result.cpu_seconds < result.seconds - 0.2
    assert run_repair(Acting(act=raising(RepairFailed("no"))), digits_problem(), HARDWARE).cpu_seconds is not None


def test_without_a_failing_input_nothing_is_done() -> None:
    problem = digits_problem()
    whole = dataclasses.replace(problem, failing=problem.failing[:0], passing=torch.arange(len(problem.repair_set)))
    result = run_repair(Acting(act=raising(AssertionError("work"))), whole, HARDWARE)
    assert (result.outcome, result.reason) == ("failure", "the model errs on no repair input")
    assert result.costs == {} and result.seconds == 0


def test_a_faulty_model_that_is_not_finite_is_not_repaired() -> None:
    problem = digits_problem()
    broken = problem.copy()
    next(broken.parameters()).data[0] = torch.nan
    result = run_repair(
        Acting(act=raising(AssertionError("work"))), dataclasses.replace(problem, faulty=broken), HARDWARE
    )
    assert (result.outcome, result.reason) == ("failure", "the faulty model's weights are not finite")


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (RepairFailed("no candidate was fitter"), "failure", "no candidate was fitter"),
        (NotApplicable("needs BatchNorm"), "unadaptable", "needs BatchNorm"),
        (MemoryError("too much"), "corrupted", "ran out of memory: too much"),
        (torch.OutOfMemoryError("GPU"), "corrupted", "ran out of memory: GPU"),
    ],
)
@pytest.mark.parametrize("late", [True, False])
def test_ends_without_a_repair(error: Exception, outcome: str, reason: str, late: bool) -> None:
    approach = Acting(act=raising(error)) if late else Tuned(first=raising(error))
    result = run_repair(approach, digits_problem(), HARDWARE)
    assert (result.outcome, result.reason, result.model) == (outcome, reason, None)
    assert not result.changed and "weights_changed" not in result.costs
    assert result.curves == ({"round": [(0, 1.0)]} if late else {})


def test_a_full_machine_is_out_of_memory_too() -> None:
    result = run_repair(Acting(act=lambda problem: torch.empty(2**50)), digits_problem(), HARDWARE)  # type: ignore[arg-type,return-value]
    assert result.outcome == "corrupted" and "allocate memory" in result.reason


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("x"), KeyboardInterrupt()])
def test_any_other_exception_is_a_crash(error: BaseException) -> None:
    with pytest.raises(type(error)):
        run_repair(Acting(act=raising(error)), digits_problem(), HARDWARE)


def test_a_changed_faulty_model_is_a_crash() -> None:
    def act(problem: Problem) -> nn.Module:
        with torch.no_grad():
            list(problem.faulty.parameters())[0][0, 0] += 1
        return problem.faulty

    problem = digits_problem()
    with pytest.raises(RuntimeError, match="Acting changed the faulty model in place"):
        run_repair(Acting(act=act), dataclasses.replace(problem, faulty=problem.copy()), HARDWARE)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_a_failure(value: float) -> None:
    def act(problem: Problem) -> nn.Module:
        model = shifted(problem)
        with torch.no_grad():
            list(model.parameters())[0][0, 0] = value
        return model

    result = run_repair(Acting(act=act), digits_problem(), HARDWARE)
    assert (result.outcome, result.reason, result.model) == ("failure", "its weights are not finite", None)


def test_fixing_nothing_is_a_failure_unless_the_approach_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_repair(Acting(act=untouched), digits_problem(), HARDWARE)
    assert (result.outcome, result.model) == ("failure", None)
    assert result.reason == "no failing repair input is right afterwards"
    assert result.costs["repair_set_fixed"] == 0
    monkeypatch.setattr(Acting, "unchanged_is_result", True)
    result = run_repair(Acting(act=untouched), digits_problem(), HARDWARE)
    assert (result.outcome, result.changed) == ("repaired", False)
    assert result.model is not None and result.costs["weights_changed"] == 0


def test_trainings_and_rounds_run_in_the_order_of_the_generator() -> None:
    seen: list[str] = []

    def named(name: str, problem: Problem) -> None:
        seen.append(name)

    approach = Staged(acts=[partial(named, "a"), partial(named, "b")], done=[])
    result = run_repair(approach, digits_problem(), HARDWARE)
    assert result.outcome == "repaired"
    assert seen == ["a", "b"]
    assert approach.done == ["search 0", "training 0", "search 1", "training 1"]
    assert result.costs["steps"] == 26
    assert [value for _, value in result.curves["round"]] == [1.0, 1.0]
    assert len(result.curves["validation/accuracy"]) == 2


def test_a_training_yielded_twice_goes_on_with_its_optimizer() -> None:
    problem = digits_problem()

    @settings
    class Twice(Tuned):
        def repair(self, problem: Problem) -> Repair:
            training = an_epoch(problem)
            for _ in range(2):
                yield training
            return Repaired(training.model, {"moments": len(training.optimization.state)})

    whole = an_epoch(problem)
    whole.max_epochs, whole.validation = 2, None
    fit(whole, HARDWARE, Curves())
    result = run_repair(Twice(), problem, HARDWARE)
    assert result.costs["steps"] == 26 and result.costs["moments"] > 0
    assert same(result.model, whole.model)


def test_what_a_repair_counted_comes_with_its_failure() -> None:
    result = run_repair(Acting(act=raising(RepairFailed("nothing fits", evaluations=7))), digits_problem(), HARDWARE)
    assert (result.outcome, result.costs["evaluations"]) == ("failure", 7)


def test_the_step_of_a_round_is_its_own_or_its_number() -> None:
    @settings
    class Stepping(Tuned):
        def repair(self, problem: Problem) -> Repair:
            yield {"own": 0.5, "step": 40}
            yield {"number": 1.0}
            training = an_epoch(problem)
            yield training
            yield {"after": torch.tensor(2.0)}
            return Repaired(training.model)

    curves = run_repair(Stepping(), digits_problem(), HARDWARE).curves
    assert (curves["own"], curves["number"], curves["after"]) == ([(40, 0.5)], [(1, 1.0)], [(0, 2.0)])


def test_rounds_may_differentiate() -> None:
    def act(problem: Problem) -> nn.Module:
        model, batch = problem.copy(), problem.repair_set.tensors()
        nn.functional.cross_entropy(model(batch.inputs), batch.labels).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None and bool(parameter.grad.any())
                parameter -= 0.1 * parameter.grad
        return model

    assert run_repair(Acting(act=act), digits_problem(), HARDWARE).changed


def test_a_repair_that_returns_no_model_is_a_mistake_in_the_approach() -> None:
    @settings
    class Forgetful(Tuned):
        def repair(self, problem: Problem) -> Repair:
            yield {"round": 1.0}

    with pytest.raises(TypeError, match="a repair returns Repaired"):
        run_repair(Forgetful(), digits_problem(), HARDWARE)


def test_an_approach_without_a_yield_is_no_generator_but_one_that_ends_at_once_is() -> None:
    @settings
    class Immediate(Tuned):
        def repair(self, problem: Problem) -> Repair:
            return Repaired(shifted(problem))
            yield {}

    result = run_repair(Immediate(), digits_problem(), HARDWARE)
    assert (result.outcome, result.curves) == ("repaired", {})
    late = run_repair(Immediate(max_seconds=1e-9), digits_problem(), HARDWARE)
    assert late.outcome == "corrupted"


def test_the_generator_is_closed_whatever_ends_it() -> None:
    closed: list[str] = []

    @settings
    class Closing(Tuned):
        def repair(self, problem: Problem) -> Repair:
            try:
                yield {"round": 1.0}
                time.sleep(0.1)
                yield {"round": 2.0}
                return Repaired(problem.copy())
            finally:
                closed.append("closed")

    assert run_repair(Closing(max_seconds=0.05), digits_problem(), HARDWARE).outcome == "corrupted"
    assert closed == ["closed"]


def slow(problem: Problem) -> nn.Module:
    time.sleep(0.4)
    return problem.copy()


def test_over_its_time_budget_a_repair_is_corrupted() -> None:
    result = run_repair(Acting(act=slow, max_seconds=0.2), digits_problem(), HARDWARE)
    assert (result.outcome, result.model) == ("corrupted", None)
    assert result.reason == "ran over its time budget of 0.2 s"


def test_the_time_budget_holds_across_stages() -> None:
    approach = Staged(acts=[slow, slow, slow], done=[], max_seconds=0.6)
    result = run_repair(approach, digits_problem(), HARDWARE)
    assert result.outcome == "corrupted"
    assert len(approach.done) <= 3
    assert 0.6 <= result.seconds < 10


def test_the_time_budget_ends_a_training_after_the_batch_that_passes_it() -> None:
    problem = digits_problem()

    @settings
    class Endless(Tuned):
        def repair(self, problem: Problem) -> Repair:
            training = an_epoch(problem)
            training.max_epochs = -1
            yield training
            return Repaired(training.model)

    result = run_repair(Endless(max_seconds=0.5), problem, HARDWARE)
    assert result.outcome == "corrupted" and result.costs["steps"] > 0
    assert 0.5 <= result.seconds < 0.6 + 0.1


def test_the_memory_budget_holds() -> None:
    result = run_repair(Tuned(), digits_problem(), dataclasses.replace(HARDWARE, memory_gib=0.01))
    assert result.outcome == "corrupted" and "over the budget" in result.reason


def test_layers_that_draw_do_not_depend_on_the_global_state() -> None:
    @settings
    class Dropping(Tuned):
        def repair(self, problem: Problem) -> Repair:
            model = problem.copy()
            model.net.layers.insert(3, nn.Dropout(0.5))  # type: ignore[union-attr, operator]
            training = an_epoch(problem, model)
            yield training
            return Repaired(training.model)

    shares = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        result = run_repair(Dropping(), digits_problem(), HARDWARE)
        assert torch.equal(torch.get_rng_state(), state)
        assert result.model is not None
        shares.append(torch.cat([p.flatten() for p in result.model.parameters()]))
    assert torch.equal(*shares)


def test_batch_norm_statistics_are_a_change_though_no_weight_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(problem: Problem) -> nn.Module:
        model = problem.copy().train()
        with torch.no_grad():
            model(problem.train.tensors().inputs)
        return model

    monkeypatch.setattr(Acting, "unchanged_is_result", True)
    result = run_repair(Acting(act=act), digits_problem(batch_norm=True), HARDWARE)
    assert result.changed and result.costs["weights_changed"] == 0
