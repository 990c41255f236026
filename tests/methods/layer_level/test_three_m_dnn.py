from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

from study.data.split import Split
from study.errors import NotApplicable, RepairFailed, UsageError
from study.methods.layer_level import three_m_dnn
from study.methods.layer_level.three_m_dnn import ThreeMDNN
from study.parts.network.activations import entering
from study.parts.selection.repair_inputs import failing_sample
from study.parts.solvers.demands import ORDER
from study.problem.prediction import predict, right
from study.problem.problem import Problem
from study.repairs.run import RepairResult
from study.storage.models import load_model, save_model
from tests.fitting import driven, finished
from tests.networks import Plain
from tests.problems import digits_problem, same, with_passing_spoilt
from tests.subjects import SUBJECTS, subject

OUT, HIDDEN = "net.layers.5", "net.layers.3"
QUICK: dict[str, Any] = {"points": 5, "max_evaluations": 60}


def repaired(problem: Problem, **settings: Any) -> tuple[nn.Module, Mapping[str, Any]]:
    result, _ = driven(ThreeMDNN(**(QUICK | settings)), problem)
    return result.model, result.costs


@lru_cache
def outcome(*settings: tuple[str, Any]) -> RepairResult:
    """A repair of the digits' network, computed once."""
    return finished(ThreeMDNN(**(QUICK | dict(settings))))


def changed(problem: Problem, model: nn.Module) -> list[str]:
    """Names of the parameters that are others now."""
    return [name for name, old in problem.faulty.named_parameters() if not torch.equal(old, model.get_parameter(name))]


def change_of(problem: Problem, model: nn.Module) -> np.ndarray:
    """All numbers of the change, in float64."""
    pairs = ((old, model.get_parameter(name)) for name, old in problem.faulty.named_parameters())
    return torch.cat([(new.detach().double() - old.detach().double()).flatten() for old, new in pairs]).numpy()


ALL = {"points": None, "protect": None}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"norm": "l1"},
    {"norm": "l2"},
    {"heuristic": "mcts"},
    {"heuristic": "realisable"},
    {"heuristic": "random"},
    {"separations": 0, "points": None},
    {"separations": 2},
    ALL,
    ALL | {"norm": "l2"},
]


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_every_given_input_is_right_in_the_stored_model(settings: dict[str, Any], tmp_path: Path) -> None:
    problem, result = digits_problem(), outcome(*settings.items())
    assert result.outcome == "repaired" and result.model is not None, result.reason
    save_model(result.model, tmp_path)
    model = load_model(tmp_path)
    targets = failing_sample(problem, settings.get("points", 5) or len(problem.failing))
    given = torch.cat([targets, problem.passing]) if "protect" in settings else targets
    assert bool(right(model, problem.repair_set.subset(given)).all())
    assert result.costs["targets"] == len(targets) and result.costs["infeasible_inputs"] == 0
    assert result.costs["protected"] == len(given) - len(targets) and result.costs["protected_lost"] == 0
    order = ORDER[settings.get("norm", "linf")]
    size = np.linalg.norm(change_of(problem, model), order)
    assert result.costs["size"] == pytest.approx(size, rel=1e-4)
    assert result.pictures and result.curves


def test_only_the_layers_around_the_cuts_change() -> None:
    problem = digits_problem()
    first = "net.layers.1"
    for settings, allowed, least in (
        ((("separations", 0), ("points", None)), [OUT], [OUT]),
        ((), [HIDDEN, OUT], [HIDDEN, OUT]),
        ((("separations", 2),), [first, HIDDEN, OUT], [first, OUT]),
    ):
        model = outcome(*settings).model
        assert model is not None
        layers = {name.rpartition(".")[0] for name in changed(problem, model)}
        assert set(least) <= layers <= set(allowed)


def full_program(problem: Problem, points: torch.Tensor, kept: torch.Tensor, eps: float) -> float:
    """The least maximum change of the last layer by the textbook's program with all rows, by scipy."""
    indices = torch.cat([points, kept])
    features = entering(problem.faulty, OUT, problem.repair_set, indices).double()
    features = torch.cat([features, torch.ones(len(features), 1)], 1).numpy()
    layer = problem.faulty.get_submodule(OUT)
    weight = torch.cat([layer.weight, layer.bias[:, None]], 1).detach().double().numpy()  # type: ignore[operator, index, union-attr, list-item]
    logits, labels = features @ weight.T, problem.repair_set.labels[indices].tolist()
    rows, floors = [], []
    for number, (feature, logit, label) in enumerate(zip(features, logits, labels, strict=True)):
        for other in range(10):
            if other != label:
                row = np.zeros_like(weight)
                row[label], row[other] = feature, -feature
                need = logit[other] - logit[label] + eps
                rows.append(row.ravel())
                floors.append(need if number < len(points) else min(need, 0.0))
    matrix, share = np.stack(rows), np.ones((weight.size, 1))
    unit = np.eye(weight.size)
    left = np.vstack([np.hstack([-matrix, 0 * matrix[:, :1]]), np.hstack([unit, -share]), np.hstack([-unit, -share])])
    limits = np.concatenate([-np.array(floors), np.zeros(2 * weight.size)])
    costs = np.append(np.zeros(weight.size), 1.0)
    return float(linprog(costs, A_ub=left, b_ub=limits, bounds=(None, None)).fun)


def test_the_change_of_the_last_layer_is_the_least_by_an_independent_solver() -> None:
    problem = digits_problem()
    points = failing_sample(problem, 5)
    _, costs = repaired(problem, separations=0)
    assert costs["size"] == pytest.approx(full_program(problem, points, problem.passing[:0], 1e-3), rel=1e-4)
    few = replace(problem, passing=problem.passing[:60])
    _, costs = repaired(few, protect=None)
    protected = full_program(few, points, few.passing, 1e-3)
    assert costs["size"] == pytest.approx(protected, rel=1e-4)
    assert costs["rows"] < 9 * 65 / 2


def test_one_point_has_the_closed_form() -> None:
    problem = digits_problem()
    point = failing_sample(problem, 1)
    features = entering(problem.faulty, OUT, problem.repair_set, point).double()[0]
    logits, label = (
        predict(problem.faulty, problem.repair_set.subset(point)).double()[0],
        problem.repair_set.labels[point],
    )
    expected = (logits.max() - logits[label] + 1e-3) / (2 * (features.abs().sum() + 1))
    _, costs = repaired(problem, points=1, separations=0)
    assert costs["size"] == pytest.approx(float(expected), rel=1e-4)


def test_several_layers_never_change_more_than_one_and_a_search_makes_it_less() -> None:
    single = outcome(("separations", 0)).costs["size"]
    for settings in ((), (("heuristic", "mcts"),), (("separations", 2),)):
        costs = outcome(*settings).costs
        assert costs["size_of_one_layer"] == pytest.approx(single, rel=1e-4)
        assert costs["size"] <= single * (1 + 1e-4) and costs["evaluations"] == 60
    assert outcome().costs["size"] < 0.9 * single
    model, costs = repaired(digits_problem(), max_evaluations=0)
    assert same(model, outcome(("separations", 0)).model) and costs["evaluations"] == 0
    model, costs = repaired(digits_problem(), timeout=30.0, max_evaluations=60)
    assert same(model, outcome().model)


def test_more_points_never_make_the_change_smaller() -> None:
    sizes = [repaired(digits_problem(), points=count, separations=0)[1]["size"] for count in (1, 3, 10, None)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]


def test_the_gradient_is_a_control_of_the_program() -> None:
    problem = digits_problem()
    model, costs = repaired(problem, change="gradient", points=1)
    assert changed(problem, model) == [f"{OUT}.weight", f"{OUT}.bias"] and costs["programs"] == 0
    _, least = repaired(problem, points=1, separations=0)
    assert costs["infeasible_inputs"] == 0
    assert costs["size"] > 1.1 * least["size"]
    model, costs = repaired(problem, change="gradient", points=None, protect=None)
    wrong = len(problem.failing) - int(right(model, problem.repair_set.subset(problem.failing)).sum())
    assert 0 < wrong <= costs["infeasible_inputs"] < len(problem.failing)


def test_where_rounding_undoes_the_margin_it_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    margins, true = list[float](), three_m_dnn.ClassMargins.of

    def watched(*arguments: Any) -> Any:
        margins.append(arguments[-2])
        return true(*arguments)

    monkeypatch.setattr(three_m_dnn.ClassMargins, "of", watched)
    model, _ = repaired(digits_problem(), eps=1e-9, separations=0, points=None)
    failing = digits_problem().repair_set.subset(digits_problem().failing)
    assert bool(right(model, failing).all())
    assert margins == pytest.approx([1e-9 * 10**n for n in range(len(margins))]) and len(margins) > 1
    monkeypatch.setattr(three_m_dnn, "right", lambda _, split: torch.zeros(len(split), dtype=torch.bool))
    with pytest.raises(RepairFailed, match="still wrong"):
        repaired(digits_problem())


def of_inputs(problem: Problem, failing: torch.Tensor, labels: torch.Tensor) -> Problem:
    """The problem with these repair inputs (indices) and labels."""
    split = Split("repair", problem.repair_set.tensors().inputs[failing], labels)
    correct = right(problem.faulty, split)
    return replace(problem, repair_set=split, failing=(~correct).nonzero()[:, 0], passing=correct.nonzero()[:, 0])


@pytest.mark.parametrize("settings", [{}, {"separations": 0}, {"protect": None, "norm": "l2"}], ids=str)
def test_of_one_input_with_two_labels_one_is_left_out(settings: dict[str, Any]) -> None:
    problem = digits_problem()
    twice, other = problem.failing[[0, 0, 1]], problem.repair_set.labels[problem.failing[[0, 0, 1]]]
    predicted = predict(problem.faulty, problem.repair_set.subset(twice)).argmax(1)
    other[1] = next(label for label in range(10) if label not in (int(other[0]), int(predicted[0])))
    model, costs = repaired(of_inputs(problem, twice, other), points=None, **settings)
    assert costs["infeasible_inputs"] == 1
    assert int(right(model, of_inputs(problem, twice, other).repair_set).sum()) == 2


def test_a_duplicate_changes_nothing() -> None:
    problem = digits_problem()
    once, twice = problem.failing[[0, 1]], problem.failing[[0, 1, 0]]
    labels = problem.repair_set.labels
    sizes = [repaired(of_inputs(problem, chosen, labels[chosen]), separations=0)[1]["size"] for chosen in (once, twice)]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-6)


def test_no_passing_input_is_needed_and_two_classes_are_enough() -> None:
    problem = digits_problem()
    alone = replace(problem, passing=problem.passing[:0])
    _, costs = repaired(alone, protect=None)
    assert costs["protected"] == 0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    split = Split("repair", problem.repair_set.tensors().inputs, problem.repair_set.labels % 2)
    correct = right(model, split)
    two = replace(
        problem, faulty=model, repair_set=split, failing=(~correct).nonzero()[:, 0], passing=correct.nonzero()[:, 0]
    )
    repaired_model, costs = repaired(two)
    assert bool(right(repaired_model, split.subset(failing_sample(two, 5))).all()) and costs["infeasible_inputs"] == 0


def test_dead_layers_and_weights_of_nan_end_as_a_failure() -> None:
    problem = digits_problem()
    dead = problem.copy()
    dead.get_parameter(f"{HIDDEN}.weight").data.zero_()
    dead.get_parameter(f"{HIDDEN}.bias").data.fill_(-1.0)
    correct = right(dead, problem.repair_set)
    same_features = replace(problem, faulty=dead, failing=(~correct).nonzero()[:, 0], passing=correct.nonzero()[:, 0])
    result = finished(ThreeMDNN(**QUICK), same_features)
    assert result.outcome == "repaired" or "infeasible" in result.reason
    assert 0 < result.costs["infeasible_inputs"] <= 5
    broken = problem.copy()
    broken.get_parameter(f"{OUT}.weight").data[0, 0] = torch.nan
    assert finished(ThreeMDNN(**QUICK), replace(problem, faulty=broken)).outcome == "failure"
    with pytest.raises(RepairFailed, match="finite"):
        repaired(with_passing_spoilt(problem), protect=None)


def test_time_that_runs_out_keeps_the_best_of_the_search_or_is_a_failure() -> None:
    with pytest.raises(RepairFailed, match="out of time"):
        repaired(digits_problem(), timeout=1e-9, points=None, protect=None)
    model, costs = repaired(digits_problem(), timeout=1.0, max_evaluations=10**6)
    assert costs["evaluations"] > 0
    assert bool(right(model, digits_problem().repair_set.subset(failing_sample(digits_problem(), 5))).all())


def test_settings_that_contradict_each_other_are_refused() -> None:
    for settings in ({"protect": 10}, {"protect": None}, {"change": "gradient"}):
        with pytest.raises(UsageError, match="separations=1"):
            ThreeMDNN(separations=1, **settings)  # type: ignore[arg-type]
        ThreeMDNN(separations=0, **settings)  # type: ignore[arg-type]
    with pytest.raises(NotApplicable, match="3 hidden Linear"):
        ThreeMDNN(separations=3).check(digits_problem().task)
    with pytest.raises(NotApplicable, match="Linear"):
        ThreeMDNN().check(replace(digits_problem().task, model=nn.Sequential(nn.Flatten()).eval()))


def test_batch_norm_in_the_head_leaves_the_last_layer() -> None:
    problem = digits_problem(batch_norm=True)
    model, costs = repaired(problem)
    last = [name for name, module in problem.faulty.named_modules() if isinstance(module, nn.Linear)][-1]
    assert changed(problem, model) == [f"{last}.weight", f"{last}.bias"] and costs.get("evaluations", 0) == 0
    with pytest.raises(NotApplicable, match="there are 0"):
        ThreeMDNN(separations=1).check(problem.task)


def test_a_network_that_cannot_be_traced_has_its_last_layer_changed() -> None:
    torch.manual_seed(0)
    model = Plain().eval()
    base = digits_problem()
    correct = right(model, base.repair_set)
    problem = replace(base, faulty=model, failing=(~correct).nonzero()[:, 0], passing=correct.nonzero()[:, 0])
    after, _ = repaired(problem)
    assert changed(problem, after) == ["out.weight", "out.bias"]
    assert bool(right(after, base.repair_set.subset(failing_sample(problem, 5))).all())


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_studys_architectures(name: str) -> None:
    problem = subject(name)
    result = finished(ThreeMDNN(points=3, max_evaluations=20), problem)
    assert result.outcome == "repaired" and result.model is not None, result.reason
    targets = failing_sample(problem, 3)
    assert int(right(result.model, problem.repair_set.subset(targets)).sum()) == 3 - result.costs["infeasible_inputs"]
    assert (result.costs.get("evaluations", 0) > 0) == (name not in ("resnet18", "densenet121", "facenet"))
