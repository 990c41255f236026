"""The rules that hold for every approach: outcomes, clock, costs, and that the faulty model stays as it is."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from study.errors import NotApplicable, RepairFailed
from study.models.classifier import Classifier
from study.models.mlp import MLP
from study.models.votes import SoftVote, UnanimousVote
from study.problem.problem import Problem
from study.repair.approach import FineTuning, Level, Patching, Rounds, Stage
from study.repair.run import changed_share, repair
from tests.problems import HARDWARE, digits_problem

Act = Callable[[Problem], nn.Module]


class Acting(Patching):
    """A search of one round, then `act`."""

    level: ClassVar[Level] = "neuron"
    source: ClassVar[str] = "test"

    def __init__(self, act: Act, max_seconds: float | None = None) -> None:
        super().__init__(max_seconds=max_seconds)
        self.act = act

    def rounds(self, problem: Problem) -> Rounds:
        yield {"round": 1.0}
        return self.act(problem)


class Tuned(FineTuning):
    """One epoch of ordinary training."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "test"
    epochs: int = 1


class Staged(Tuned):
    """Fits stages that are searches, and itself last."""

    def __init__(self, acts: list[Act], max_seconds: float | None = None) -> None:
        super().__init__(max_seconds=max_seconds)
        self.acts = acts
        self.done: list[str] = []

    def stages(self, problem: Problem) -> Iterator[Stage]:
        for number, act in enumerate(self.acts):
            yield Acting(act)
            self.done.append(f"stage {number}")
        yield self
        self.done.append("itself")


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
    result = repair(Acting(shifted), problem, HARDWARE)
    assert (result.outcome, result.reason, result.changed) == ("repaired", "", True)
    assert result.model is not None and not result.model.training
    assert result.curves == {"round": [(0, 1.0)]}
    labels = problem.repair_set.labels[problem.failing]
    assert result.costs["repair_set_fixed"] == int((labels == labels[0]).sum()) / len(labels)
    assert result.costs["weights_changed"] == 1 / sum(p.numel() for p in problem.faulty.parameters())
    assert 0 < result.seconds < 60


def test_without_a_failing_input_nothing_is_done() -> None:
    problem = digits_problem()
    whole = dataclasses.replace(problem, failing=problem.failing[:0], passing=torch.arange(len(problem.repair_set)))
    result = repair(Acting(raising(AssertionError("work"))), whole, HARDWARE)
    assert (result.outcome, result.reason) == ("failure", "the model errs on no repair input")
    assert result.costs == {} and result.seconds == 0


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
    approach = Acting(raising(error)) if late else Tuned()
    if not late:
        approach.begin = raising(error)  # type: ignore[method-assign, assignment]
    result = repair(approach, digits_problem(), HARDWARE)
    assert (result.outcome, result.reason, result.model) == (outcome, reason, None)
    assert not result.changed and "weights_changed" not in result.costs
    assert result.curves == ({"round": [(0, 1.0)]} if late else {})


def test_a_full_machine_is_out_of_memory_too() -> None:
    result = repair(Acting(lambda problem: torch.empty(2**50)), digits_problem(), HARDWARE)  # type: ignore[arg-type,return-value]
    assert result.outcome == "corrupted" and "allocate memory" in result.reason


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("x"), KeyboardInterrupt()])
def test_any_other_exception_is_a_crash(error: BaseException) -> None:
    with pytest.raises(type(error)):
        repair(Acting(raising(error)), digits_problem(), HARDWARE)


def test_a_changed_faulty_model_is_a_crash() -> None:
    def act(problem: Problem) -> nn.Module:
        with torch.no_grad():
            list(problem.faulty.parameters())[0][0, 0] += 1
        return problem.faulty

    problem = digits_problem()
    with pytest.raises(RuntimeError, match="Acting changed the faulty model in place"):
        repair(Acting(act), dataclasses.replace(problem, faulty=problem.copy()), HARDWARE)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_a_failure(value: float) -> None:
    def act(problem: Problem) -> nn.Module:
        model = shifted(problem)
        with torch.no_grad():
            list(model.parameters())[0][0, 0] = value
        return model

    result = repair(Acting(act), digits_problem(), HARDWARE)
    assert (result.outcome, result.reason, result.model) == ("failure", "its weights are not finite", None)


def test_fixing_nothing_is_a_failure_unless_the_approach_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    result = repair(Acting(untouched), digits_problem(), HARDWARE)
    assert (result.outcome, result.model) == ("failure", None)
    assert result.reason == "no failing repair input is right afterwards"
    assert result.costs["repair_set_fixed"] == 0
    monkeypatch.setattr(Acting, "unchanged_is_result", True)
    result = repair(Acting(untouched), digits_problem(), HARDWARE)
    assert (result.outcome, result.changed) == ("repaired", False)
    assert result.model is not None and result.costs["weights_changed"] == 0


def test_stages_are_fitted_in_order() -> None:
    seen: list[str] = []

    def named(name: str, problem: Problem) -> nn.Module:
        seen.append(name)
        return problem.copy()

    approach = Staged([partial(named, "a"), partial(named, "b")])
    result = repair(approach, digits_problem(), HARDWARE)
    assert result.outcome == "repaired"
    assert seen == ["a", "b"]
    assert approach.done == ["stage 0", "stage 1", "itself"]
    assert result.costs["steps"] == 13
    assert [value for _, value in result.curves["round"]] == [1.0, 1.0]
    assert len(result.curves["validation/accuracy"]) == 1


def slow(problem: Problem) -> nn.Module:
    time.sleep(0.4)
    return problem.copy()


def test_over_its_time_budget_a_repair_is_corrupted() -> None:
    result = repair(Acting(slow, max_seconds=0.2), digits_problem(), HARDWARE)
    assert (result.outcome, result.model) == ("corrupted", None)
    assert result.reason == "ran over its time budget of 0.2 s"


def test_the_time_budget_holds_across_stages() -> None:
    approach = Staged([slow, slow, slow], max_seconds=0.6)
    result = repair(approach, digits_problem(), HARDWARE)
    assert result.outcome == "corrupted"
    assert approach.done in ([], ["stage 0"])
    assert 0.6 <= result.seconds < 10


def test_the_memory_budget_holds() -> None:
    result = repair(Tuned(), digits_problem(), dataclasses.replace(HARDWARE, memory_gib=0.01))
    assert result.outcome == "corrupted" and "over the budget" in result.reason


def test_layers_that_draw_do_not_depend_on_the_global_state() -> None:
    class Dropping(Tuned):
        def begin(self, problem: Problem) -> None:
            super().begin(problem)
            self.model.net.layers.insert(3, nn.Dropout(0.5))  # type: ignore[union-attr, operator]

    shares = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        result = repair(Dropping(), digits_problem(), HARDWARE)
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
    result = repair(Acting(act), digits_problem(batch_norm=True), HARDWARE)
    assert result.changed and result.costs["weights_changed"] == 0


class Beside(nn.Module):
    """The model with a small patch (3 parameters, a buffer of 2) beside it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.patch = nn.Parameter(torch.zeros(3))
        self.register_buffer("scale", torch.ones(2))
        self.inner = model

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.inner(inputs) + self.patch.sum()
        return logits


def small(batch_norm: bool = True) -> Classifier:
    """A model of 4 * 2 + 2 + 2 * 3 + 3 = 19 parameters (4 more with BatchNorm), with normalisation buffers."""
    shape = (1, 2, 2)
    net = MLP(input_shape=shape, num_classes=3, widths=[2], batch_norm=batch_norm)
    return Classifier(net, [0.5], [0.5])


def copied(model: nn.Module) -> Classifier:
    twin = small()
    twin.load_state_dict(model.state_dict())
    return twin


def test_the_changed_share_counts_values_that_differ() -> None:
    before = small()
    after = copied(before)
    assert changed_share(before, after) == 0
    with torch.no_grad():
        after.get_parameter("net.layers.1.weight")[0, :3] += 1
        after.get_parameter("net.layers.4.bias")[1] = torch.nan
        after.get_buffer("net.layers.2.running_mean").add_(1)
    assert changed_share(before, after) == 4 / 23


def test_the_changed_share_of_a_wrapper_counts_what_was_put_beside_the_model() -> None:
    before = small()
    after = Beside(copied(before))
    assert changed_share(before, after) == 5 / 23
    with torch.no_grad():
        after.get_parameter("inner.net.layers.1.weight")[0, 0] += 1
    assert changed_share(before, after) == 6 / 23
    assert changed_share(before, Beside(Beside(copied(before)))) == 10 / 23


def test_the_changed_share_of_voters_counts_each_of_them_once() -> None:
    before = small()
    assert changed_share(before, UnanimousVote(copied(before), 3)) == 3
    assert changed_share(before, SoftVote(copied(before), small(), 0.5)) == 1
    assert changed_share(before, SoftVote(small(), copied(before), 0.5)) == 1


def test_the_changed_share_of_another_architecture_counts_what_is_not_the_same() -> None:
    before = small(batch_norm=False)
    after = small(batch_norm=False)
    after.load_state_dict(before.state_dict())
    after.get_submodule("net.layers").append(nn.Linear(3, 3))  # type: ignore[operator]
    assert changed_share(before, after) == 12 / 19
