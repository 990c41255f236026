import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from study.data.split import Split
from study.errors import NotApplicable
from study.methods.layer_level.prdnn import Prdnn
from study.models.decoupled import DecoupledNetwork
from study.parts.selection.given_inputs import GivenInputs
from study.problem.prediction import predict, right
from study.problem.problem import Problem
from study.repairs.run import RepairResult
from study.storage.models import load_model, save_model, weights_hash
from tests.fitting import finished
from tests.problems import digits_problem
from tests.subjects import SUBJECTS, subject

PROTECT = 40


@lru_cache
def repaired(batch_norm: bool = False, **options: Any) -> RepairResult:
    result = finished(Prdnn(**{"protect": PROTECT} | options), digits_problem(batch_norm))
    assert result.outcome == "repaired", result.reason
    return result


@pytest.mark.parametrize("batch_norm", [False, True])
def test_every_given_input_is_right_in_the_stored_model(batch_norm: bool, tmp_path: Path) -> None:
    problem, result = digits_problem(batch_norm), repaired(batch_norm)
    assert isinstance(result.model, DecoupledNetwork)
    save_model(result.model, tmp_path)
    given = GivenInputs.of(problem, None, PROTECT)
    assert right(load_model(tmp_path), given.split).all()
    assert result.costs["targets"] == len(problem.failing)
    assert result.costs["infeasible_inputs"] == result.costs["missed_inputs"] == result.costs["protected_lost"] == 0
    assert result.costs["size"] > 0 and result.costs["rows"] >= len(problem.failing) and result.costs["programs"] >= 2


def test_only_the_layer_of_values_is_another_one() -> None:
    problem, result = digits_problem(), repaired()
    assert isinstance(result.model, DecoupledNetwork)
    assert result.model.layer == "net.layers.3"
    assert weights_hash(result.model.model) == weights_hash(problem.faulty)
    old = problem.faulty.get_submodule("net.layers.3")
    change = max(
        float((new - was).detach().abs().max())
        for new, was in zip(result.model.values.parameters(), old.parameters(), strict=True)
    )
    assert change == pytest.approx(result.costs["size"], rel=1e-3)


def test_without_a_channel_of_its_own_the_same_change_leaves_targets_wrong() -> None:
    """The control: units switch, so what the program promises does not hold."""
    problem, single, sound = digits_problem(), repaired(channel="single"), repaired()
    assert isinstance(sound.model, DecoupledNetwork) and single.model is not None
    assert type(single.model) is type(problem.faulty)
    change = single.model.get_submodule("net.layers.3")
    torch.testing.assert_close(change.get_parameter("weight"), sound.model.values.get_parameter("weight"))
    given = GivenInputs.of(problem, None, PROTECT)
    wrong = ~right(single.model, given.split)
    assert int((wrong & given.wanted).sum()) == single.costs["missed_inputs"] > 0
    assert int((wrong & ~given.wanted).sum()) == single.costs["protected_lost"]


def test_with_the_authors_objective_the_largest_and_the_mean_together_are_smaller() -> None:
    changed = {}
    for objective in ("linf", "reference"):
        result = repaired(points=3, protect=0, objective=objective)
        assert result.model is not None
        assert right(result.model, GivenInputs.of(digits_problem(), 3, 0).split).all()
        assert isinstance(result.model, DecoupledNetwork)
        old = digits_problem().faulty.get_parameter("net.layers.3.weight")
        change = (result.model.values.get_parameter("weight") - old).detach().abs()
        changed[objective] = float(change.max() + change.mean())
    assert changed["reference"] < changed["linf"] * 0.97


@pytest.mark.parametrize("name", SUBJECTS)
def test_it_runs_on_every_subject(name: str) -> None:
    problem = subject(name)
    task = dataclasses.replace(problem.task, model=problem.copy())
    made = Prdnn(points=4, protect=10)
    made.check(task)
    result = finished(made, problem)
    assert result.outcome == "repaired", result.reason
    assert result.model is not None
    given = GivenInputs.of(problem, 4, 10)
    assert right(result.model, given.split).sum() == 14 - result.costs["infeasible_inputs"]


def test_a_convolution_in_a_residual_block_can_be_the_layer() -> None:
    problem = subject("resnet18")
    result = finished(Prdnn(points=3, protect=3, layer="net.layer4.1.conv2", units=4), problem)
    assert result.outcome == "repaired", result.reason
    assert isinstance(result.model, DecoupledNetwork)
    changed = result.model.values.get_parameter("weight") != problem.faulty.get_parameter("net.layer4.1.conv2.weight")
    assert 0 < changed.flatten(1).any(1).sum() <= 4
    assert right(result.model, GivenInputs.of(problem, 3, 3).split).all()


def test_of_one_input_with_two_labels_one_is_left_out_and_told() -> None:
    problem = digits_problem()
    inputs, labels = problem.repair_set.tensors().inputs.clone(), problem.repair_set.labels.clone()
    first, second = problem.failing[:2].tolist()
    inputs[second] = inputs[first]
    labels[second] = next(
        c for c in range(10) if c not in (labels[first], predict(problem.faulty, problem.repair_set)[first].argmax())
    )
    contradicting = dataclasses.replace(problem, repair_set=Split("repair", inputs, labels))
    result = finished(Prdnn(points=len(problem.failing), protect=0), contradicting)
    assert result.outcome == "repaired" and result.model is not None
    assert result.costs["infeasible_inputs"] == 1
    wrong = ~right(result.model, contradicting.repair_set.subset(problem.failing))
    assert wrong.nonzero().flatten().tolist() in ([0], [1])


def test_where_nothing_can_be_repaired_it_fails_with_the_reason() -> None:
    result = finished(Prdnn(bound=1e-6, protect=0), digits_problem())
    assert result.outcome == "failure" and result.reason == "no failing input can be made right"
    assert result.costs["infeasible_inputs"] == len(digits_problem().failing)
    result = finished(Prdnn(time_limit=1e-9), digits_problem())
    assert result.outcome == "failure" and "out of time" in result.reason


def test_of_a_dead_layer_whose_outputs_are_all_the_same_one_input_can_be_repaired() -> None:
    problem = digits_problem()
    dead = problem.copy()
    dead.get_parameter("net.layers.1.bias").data.fill_(-1e3)
    wrong = ~right(dead, problem.repair_set)
    empty = torch.empty(0, dtype=torch.int64)
    posed = dataclasses.replace(problem, faulty=dead, failing=wrong.nonzero().flatten()[:20], passing=empty)
    result = finished(Prdnn(), posed)
    assert result.outcome == "failure" and result.reason == "no failing input can be made right"
    lone = dataclasses.replace(posed, failing=posed.failing[:1])
    assert finished(Prdnn(), lone).outcome == "repaired"


def test_a_subject_that_it_cannot_repair_is_said_beforehand() -> None:
    smooth = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.GELU(), nn.Linear(8, 10)).eval()
    task = dataclasses.replace(digits_problem().task, model=smooth)
    Prdnn().check(task)
    with pytest.raises(NotApplicable, match="GELU"):
        Prdnn(layer="1").check(task)


def problem_of_two(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> Problem:
    split = Split("repair", inputs, labels)
    correct = right(model, split)
    return dataclasses.replace(
        digits_problem(),
        faulty=model,
        repair_set=split,
        failing=(~correct).nonzero().flatten(),
        passing=correct.nonzero().flatten(),
    )


def test_equal_rows_of_the_last_layer_cannot_be_told_apart_by_an_inner_one() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
        inputs = torch.randn(30, 4)
    for kind in ("weight", "bias"):
        parameter = model.get_parameter(f"2.{kind}").data
        parameter[1] = parameter[0]
    wanted = torch.where(model(inputs).argmax(1) == 0, 1, model(inputs).argmax(1))
    result = finished(Prdnn(protect=0), problem_of_two(model, inputs, wanted))
    assert result.outcome == "failure" and result.reason == "no failing input can be made right"
