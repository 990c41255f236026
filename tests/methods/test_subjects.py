"""Neuron- and layer-level approaches on every architecture of the study, and on problems at the edges."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from study.data.split import Split
from study.errors import NotApplicable
from study.problem.problem import Problem
from study.repairs.run import RepairResult
from tests.fitting import finished
from tests.methods.test_contract import ROWS, Row, approach
from tests.problems import digits_problem, problem_of
from tests.subjects import SUBJECTS, subject

SMALL_CHANGES = [row for row in ROWS if row.level != "model"]
GUARDED = [row for row in ROWS if row.level == "neuron"]
every_row = pytest.mark.parametrize("row", SMALL_CHANGES, ids=[row.method for row in SMALL_CHANGES])
NEEDS_HIDDEN_RELU = ("vere", "reassure", "reassure_soft")
UNADAPTABLE = {
    (method, name): "hidden" for method in NEEDS_HIDDEN_RELU for name in ("resnet18", "densenet121", "facenet")
}
"""The networks that an approach cannot be applied to, and a word of the reason."""
SMALLER = {
    "genmunn": ("method.population=4", "method.max_rounds=8", "method.max_fit=60"),
    "inner": ("method.epochs=2", "method.probe_inputs=200", "method.route_inputs=20", "method.route_iters=10"),
    "irepair": ("method.max_iters=10", "method.lr=1e-3", "method.max_fail=20", "method.per_class=2"),
    "nnrepair": ("method.time_limit=1", "method.n_fail=3", "method.n_pass=10"),
    "reassure": ("method.points=1",),
    "three_m_dnn": ("method.max_evaluations=20",),
    "aprnn": ("method.points=8", "method.protect=8"),
    "prdnn": ("method.points=20", "method.protect=8"),
}
"""Settings that make an approach quick on deep networks."""
UNGUARDED = {"neuron": ("method.guard=false",), "layer": ()}


def outcome(row: Row, problem: Problem, *settings: str) -> RepairResult:
    chosen = approach(row.method, *row.settings, *UNGUARDED[row.level], *settings)
    try:
        chosen.check(problem.task)
    except NotApplicable as reason:
        return RepairResult(outcome="unadaptable", reason=str(reason))
    return finished(chosen, problem)


@every_row
def test_it_runs_on_every_architecture_or_says_why_not_and_repairs_most(row: Row) -> None:
    repaired = []
    for name in SUBJECTS:
        result = outcome(row, subject(name), *SMALLER.get(row.method, ()))
        if reason := UNADAPTABLE.get((row.method, name)):
            assert result.outcome == "unadaptable" and reason in result.reason
        else:
            assert result.outcome == "repaired" or (result.outcome == "failure" and result.reason)
            repaired.append(result.costs.get("repair_set_fixed", 0) > 0)
    assert sum(repaired) > len(repaired) / 2


def without(problem: Problem, label: int) -> Problem:
    """The problem without failing inputs of one class."""
    labels = problem.repair_set.labels[problem.failing]
    return dataclasses.replace(problem, failing=problem.failing[labels != label])


def with_all_failing() -> Problem:
    problem = digits_problem()
    failing = problem.repair_set.subset(problem.failing)
    return problem_of_split(problem, failing.tensors().inputs, failing.labels)


def problem_of_split(problem: Problem, inputs: torch.Tensor, labels: torch.Tensor) -> Problem:
    splits = {"train": problem.train, "validation": problem.validation, "repair": Split("repair", inputs, labels)}
    return problem_of(problem.faulty, splits, history=problem.history)  # type: ignore[arg-type]


def with_two_classes() -> Problem:
    problem = digits_problem()
    kept = problem.repair_set.labels < 2
    inputs, labels = problem.repair_set.tensors().inputs[kept], problem.repair_set.labels[kept].clone()
    labels[:5] = 1 - labels[:5]  # five inputs that the model gets wrong
    return problem_of_split(problem, inputs, labels)


def with_a_dead_layer() -> Problem:
    problem = digits_problem()
    dead = problem.copy()
    hidden = dead.get_submodule("net.layers.1")
    assert isinstance(hidden, nn.Linear)
    hidden.weight.data.zero_()
    hidden.bias.data.fill_(-1)
    splits = {"train": problem.train, "validation": problem.validation, "repair": problem.repair_set}
    return problem_of(dead, splits, history=problem.history)  # type: ignore[arg-type]


EDGES = {
    "all inputs failing": with_all_failing,
    "a class that never fails": lambda: without(digits_problem(), 8),
    "two classes in the repair set": with_two_classes,
    "a dead layer": with_a_dead_layer,
    "no history": lambda: dataclasses.replace(digits_problem(), history=None),
}
"""Beside those of test_contract.py, which has one failing input and failing inputs of one class."""


@every_row
@pytest.mark.parametrize("edge", EDGES)
def test_the_edges_are_a_result_or_a_failure_with_its_reason(row: Row, edge: str) -> None:
    result = outcome(row, EDGES[edge]())
    assert result.outcome in ("repaired", "failure", "unadaptable")
    assert result.outcome == "repaired" or result.reason


@pytest.mark.parametrize("row", GUARDED, ids=[row.method for row in GUARDED])
def test_the_guard_never_lowers_validation_accuracy(row: Row) -> None:
    problem = digits_problem()
    result = finished(approach(row.method, *row.settings, "method.guard=true"), problem)
    if result.model is None:
        assert result.outcome == "failure" and "validation" in result.reason
        return
    validation = problem.validation
    logits = [model(validation.tensors().inputs) for model in (problem.faulty, result.model)]
    before, after = (int((each.argmax(1) == validation.labels).sum()) for each in logits)
    assert after >= before
