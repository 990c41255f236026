import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from study.data.split import Split
from study.errors import NotApplicable
from study.methods.layer_level import aprnn
from study.methods.layer_level.aprnn import Aprnn
from study.models.frozen_run import FrozenRun
from study.parts.selection.given_inputs import GivenInputs
from study.problem.prediction import predict, right
from study.repairs.run import RepairResult
from study.storage.models import load_model, save_model
from tests.fitting import finished
from tests.problems import digits_problem
from tests.subjects import SUBJECTS, subject

PROTECT, LAYER = 40, "net.layers.3"


@lru_cache
def repaired(batch_norm: bool = False, **options: Any) -> RepairResult:
    result = finished(Aprnn(**{"protect": PROTECT} | options), digits_problem(batch_norm))
    assert result.outcome == "repaired", result.reason
    return result


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    return {name for name, old in before.named_parameters() if not torch.equal(old, after.get_parameter(name))}


@pytest.mark.parametrize("batch_norm", [False, True])
def test_every_given_input_is_right_in_the_stored_model(batch_norm: bool, tmp_path: Path) -> None:
    problem, result = digits_problem(batch_norm), repaired(batch_norm)
    assert result.model is not None and type(result.model) is type(problem.faulty)
    save_model(result.model, tmp_path)
    assert right(load_model(tmp_path), GivenInputs.of(problem, None, PROTECT).split).all()
    assert result.costs["infeasible_inputs"] == result.costs["missed_inputs"] == result.costs["protected_lost"] == 0
    assert result.costs["targets"] == len(problem.failing)


def pattern(model: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Which later units are on for each input, and what enters them."""
    run = FrozenRun(model, LAYER)
    entering = run.entering(inputs)
    output = model.get_submodule(LAYER)(entering[0])
    (on,) = run.choices(entering, output)
    return on, output


def test_no_unit_after_the_layer_switches_for_a_given_input() -> None:
    problem, result = digits_problem(), repaired()
    assert result.model is not None
    inputs = GivenInputs.of(problem, None, PROTECT).split.tensors().inputs
    (before, _), (after, values) = pattern(problem.faulty, inputs), pattern(result.model, inputs)
    switched = before != after
    assert bool((values[switched].abs() < 1e-5).all())
    other = problem.repair_set.tensors().inputs
    assert (pattern(problem.faulty, other)[0] != pattern(result.model, other)[0]).any()


def test_it_changes_the_layer_and_later_biases_alone() -> None:
    problem, result = digits_problem(), repaired()
    assert result.model is not None
    assert changed(problem.faulty, result.model) == {f"{LAYER}.weight", f"{LAYER}.bias", "net.layers.5.bias"}
    bare = repaired(later_biases=False)
    assert bare.model is not None
    assert changed(problem.faulty, bare.model) == {f"{LAYER}.weight", f"{LAYER}.bias"}
    assert bare.costs["size"] >= result.costs["size"]
    largest = max(
        float((result.model.get_parameter(name) - old).detach().abs().max())
        for name, old in problem.faulty.named_parameters()
    )
    assert largest == pytest.approx(result.costs["size"], rel=1e-3)


def test_with_units_free_to_switch_a_smaller_change_is_found_that_leaves_targets_wrong() -> None:
    problem, free, sound = digits_problem(), repaired(signs="ignored"), repaired()
    assert free.model is not None
    assert free.costs["size"] < sound.costs["size"] and free.costs["rows"] < sound.costs["rows"]
    given = GivenInputs.of(problem, None, PROTECT)
    assert int((~right(free.model, given.split) & given.wanted).sum()) == free.costs["missed_inputs"] > 0


def test_only_the_most_useful_units_change() -> None:
    problem, result = digits_problem(), repaired(units=12, points=3)
    assert result.model is not None
    rows = result.model.get_parameter(f"{LAYER}.weight") != problem.faulty.get_parameter(f"{LAYER}.weight")
    assert 0 < int(rows.any(1).sum()) <= 12
    assert repaired(points=3).costs["size"] < result.costs["size"]


@pytest.mark.parametrize("name", SUBJECTS)
def test_it_runs_on_every_subject(name: str) -> None:
    problem, made = subject(name), Aprnn(points=4, protect=10)
    made.check(dataclasses.replace(problem.task, model=problem.copy()))
    result = finished(made, problem)
    assert result.outcome == "repaired", result.reason
    assert result.model is not None
    split = GivenInputs.of(problem, 4, 10).split
    assert right(result.model, split).sum() == 14 - result.costs["infeasible_inputs"]


def test_a_convolution_before_a_pooling_can_be_the_layer() -> None:
    problem = subject("lenet5")
    result = finished(Aprnn(points=2, protect=2, layer="net.conv2"), problem)
    assert result.outcome == "repaired", result.reason
    assert result.model is not None
    assert right(result.model, GivenInputs.of(problem, 2, 2).split).all()
    later = {f"net.{name}.bias" for name in ("fc1", "fc2", "fc3")}
    assert changed(problem.faulty, result.model) <= {"net.conv2.weight", "net.conv2.bias", *later}


def test_too_many_units_after_the_layer_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    task = subject("lenet5").task
    monkeypatch.setattr(aprnn, "MOST_SIGNS", 1000)
    with pytest.raises(NotApplicable, match="at most 1,000 units and pooled elements after the layer"):
        Aprnn(layer="net.conv2").check(task)
    Aprnn(layer="net.fc1").check(task)


def test_equal_rows_of_the_last_layer_are_told_apart_by_their_biases_alone() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
        inputs = torch.randn(30, 4)
    for kind in ("weight", "bias"):
        parameter = model.get_parameter(f"2.{kind}").data
        parameter[1] = parameter[0]
    answers = model(inputs).argmax(1)
    split = Split("repair", inputs, torch.where(answers == 0, 1, answers))
    correct = right(model, split)
    failing, passing = (~correct).nonzero().flatten(), correct.nonzero().flatten()
    problem = dataclasses.replace(digits_problem(), faulty=model, repair_set=split, failing=failing, passing=passing)
    bare = finished(Aprnn(protect=0, later_biases=False), problem)
    assert bare.outcome == "failure" and bare.reason == "no failing input can be made right"
    assert finished(Aprnn(protect=0), problem).outcome == "repaired"


def test_with_the_authors_objective_outputs_of_given_inputs_move_less() -> None:
    problem, given = digits_problem(), GivenInputs.of(digits_problem(), 3, 0)
    moved = {}
    for objective in ("linf", "reference"):
        model = repaired(points=3, protect=0, objective=objective).model
        assert model is not None
        assert right(model, given.split).all()
        moved[objective] = float((predict(model, given.split) - predict(problem.faulty, given.split)).abs().sum())
    assert moved["reference"] < moved["linf"]


def test_what_changed_is_drawn() -> None:
    result = repaired()
    assert set(result.pictures) == {"weight_change"}
