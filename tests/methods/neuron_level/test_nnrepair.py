from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from study.errors import NotApplicable, RepairFailed, UsageError
from study.methods.neuron_level import nnrepair
from study.methods.neuron_level.nnrepair import NNRepair
from study.parts.network.activations import entering
from study.parts.selection.class_f1 import class_f1
from study.parts.solvers.integer_program import SoftProgram
from study.problem.prediction import predict
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from tests.fitting import driven
from tests.networks import Plain
from tests.problems import digits_problem, digits_splits, problem_of, same

OUT = "net.layers.5.weight"
QUICK: dict[str, Any] = {"n_pass": 20, "n_fail": 4}


def repaired(problem: Problem, **settings: Any) -> tuple[nn.Module, Mapping[str, Any]]:
    result, _ = driven(NNRepair(**(QUICK | settings)), problem)
    return result.model, result.costs


def of_class(problem: Problem, label: int) -> Problem:
    """The problem with the failing inputs of one class alone: there is one expert."""
    mine = problem.failing[problem.repair_set.labels[problem.failing] == label]
    return replace(problem, failing=mine)


def frequent(problem: Problem) -> int:
    return int(problem.repair_set.labels[problem.failing].mode().values)


@pytest.mark.parametrize("settings", [{}, {"localisation": "random"}, {"solve": "random"}])
def test_an_expert_changes_few_weights_of_its_row_and_breaks_no_given_input(settings: dict[str, Any]) -> None:
    problem = digits_problem()
    label = frequent(problem)
    model, costs = repaired(of_class(problem, label), n_pass=1000, **settings)
    step = (model.get_parameter(OUT) - problem.faulty.get_parameter(OUT)).detach()
    assert 0 < int((step[label] != 0).sum()) <= 5 and step.abs().max() < 0.5
    assert not step.index_fill(0, torch.tensor([label]), 0.0).any()
    passing = problem.repair_set.subset(problem.passing)
    assert torch.equal(predict(model, passing).argmax(1), passing.labels)
    assert costs["experts"] == 1 and costs["held_after"] > costs["held_before"]
    before, after = (predict(m, problem.repair_set) for m in (problem.faulty, model))
    others = torch.arange(10) != label
    assert torch.equal(before[:, others], after[:, others]) and not torch.equal(before, after)


def test_the_programs_satisfy_at_least_what_random_changes_do_and_say_how_much() -> None:
    problem = of_class(digits_problem(), frequent(digits_problem()))
    model, costs = repaired(problem, n_fail=None)
    _, drawn = repaired(problem, n_fail=None, solve="random", draws=2000)
    assert drawn["programs"] == 0 and costs["programs"] == 2
    assert costs["held_after"] >= drawn["held_after"] >= drawn["held_before"] == costs["held_before"]
    label, failing = frequent(problem), problem.repair_set.subset(problem.failing)
    leads = predict(model, failing)[:, label : label + 1] - predict(model, failing)
    assert (leads > 0).sum() == costs["held_after"] and leads.numel() - len(leads) == costs["wanted"]


def test_the_localised_weights_are_those_with_the_largest_products() -> None:
    problem = of_class(digits_problem(), frequent(digits_problem()))
    label = frequent(problem)
    features = entering(problem.faulty, "net.layers.5", problem.repair_set, problem.failing)
    weight = problem.faulty.get_parameter(OUT)[label]
    products = torch.stack([(row * weight).abs() for row in features]).mean(0)
    model, _ = repaired(problem, n_fail=None, places=3)
    changed = (model.get_parameter(OUT)[label] != weight).nonzero().flatten()
    assert len(changed) > 0 and set(changed.tolist()) <= set(products.topk(3).indices.tolist())
    model, _ = repaired(problem, n_fail=None, places=3, localisation="random")
    elsewhere = (model.get_parameter(OUT)[label] != weight).nonzero().flatten()
    assert 0 < len(elsewhere) <= 3 and not set(elsewhere.tolist()) <= set(products.topk(3).indices.tolist())


def test_the_average_is_the_mean_of_the_experts() -> None:
    problem = digits_problem()
    labels = problem.repair_set.labels[problem.failing].unique().tolist()
    average, costs = repaired(problem, n_fail=None, n_pass=0)
    assert costs["experts"] == len(labels) > 2
    old = problem.faulty.get_parameter(OUT)
    total = torch.zeros_like(old)
    for label in labels:
        try:
            total += repaired(of_class(problem, label), n_fail=None, n_pass=0)[0].get_parameter(OUT) - old
        except RepairFailed:
            continue  # nothing to gain: its change is 0
    torch.testing.assert_close(average.get_parameter(OUT) - old, total / len(labels), atol=1e-6, rtol=1e-4)
    conf, _ = repaired(problem, n_fail=None, n_pass=0, combination="conf")
    torch.testing.assert_close(conf.steps, total, atol=1e-6, rtol=1e-4)


def test_units_of_a_hidden_layer_are_switched() -> None:
    problem = digits_problem()
    model, costs = repaired(problem, layer="intermediate", n_pass=10)
    assert costs["held_after"] > costs["held_before"] and costs["experts"] > 1
    names = [
        name for name, tensor in model.named_parameters() if not torch.equal(tensor, problem.faulty.get_parameter(name))
    ]
    assert names == ["net.layers.3.weight"]
    step = (model.get_parameter(names[0]) - problem.faulty.get_parameter(names[0])).detach()
    assert step.abs().max() <= 1 and int((step[:, :] != 0).any(1).sum()) < len(step)
    with pytest.raises(RepairFailed):
        repaired(replace(problem, passing=problem.passing[:0]), layer="intermediate")


@pytest.mark.parametrize(
    ("settings", "places", "bound"),
    [({}, 5, 0.5), ({"layer": "intermediate"}, 50, 1.0), ({"places": 3, "bound": 0.2, "solve": "random"}, 3, 0.2)],
)
def test_so_many_weights_may_change_and_by_so_much(
    settings: dict[str, Any], places: int, bound: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, best_of = nnrepair.RowChange.of, SoftProgram.best_of
    programs, points = list[tuple[int, float, float]](), list[Any]()

    def watched(row: int, columns: torch.Tensor, program: SoftProgram, values: Any) -> nnrepair.RowChange:
        programs.append((len(columns), program.bound, program.eps))
        return of(row, columns, program, values)

    def drawn(self: SoftProgram, candidates: Any) -> Any:
        points.append(candidates)
        return best_of(self, candidates)

    monkeypatch.setattr(nnrepair.RowChange, "of", watched)
    monkeypatch.setattr(SoftProgram, "best_of", drawn)
    repaired(digits_problem(), draws=500, eps=2e-3, **settings)
    for count, limit, eps in programs:
        assert (count, limit, eps) == (places, pytest.approx(bound, rel=1e-5), 2e-3) and limit < bound
    for candidates in points:
        assert candidates.shape == (500, places)
        assert candidates.max() > 0.95 * bound and candidates.min() < -0.95 * bound
    assert bool(points) == (settings.get("solve") == "random")


def test_patterns_are_those_of_the_passing_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, original = list[tuple[torch.Tensor, torch.Tensor]](), nnrepair.class_patterns

    def watched(on: torch.Tensor, predicted: torch.Tensor, seed: int) -> Any:
        seen.append((on, predicted))
        return original(on, predicted, seed)

    monkeypatch.setattr(nnrepair, "class_patterns", watched)
    problem = digits_problem()
    repaired(problem, layer="intermediate")
    ((on, predicted),) = seen
    assert torch.equal(predicted, problem.repair_set.labels[problem.passing])
    after = entering(problem.faulty, "net.layers.5", problem.repair_set, problem.passing)
    assert torch.equal(on, after > 0)


def test_the_guard_and_the_selection_by_f1(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = digits_problem()
    monkeypatch.setattr(nnrepair, "keeps_accuracy", lambda *_: False)
    repaired(problem)
    with pytest.raises(RepairFailed, match="validation accuracy"):
        repaired(problem, guard=True)
    _, every = repaired(problem)
    _, some = repaired(problem, f1_select=True)
    assert 0 < some["experts"] < every["experts"]
    chosen, offered = (repaired(problem, combination="conf", f1_select=select)[0].steps for select in (True, False))
    for label in offered.any(1).nonzero().flatten().tolist():
        alone = problem.copy()
        alone.get_parameter(OUT).data[label] += offered[label]
        scores = [class_f1(model, problem.repair_set, label) for model in (problem.faulty, alone)]
        assert bool(chosen[label].any()) == bool(scores[1] > scores[0])
    monkeypatch.setattr(nnrepair, "class_f1", lambda *_: torch.zeros(()))
    with pytest.raises(RepairFailed, match="F1"):
        repaired(problem, f1_select=True)


def test_the_seed_decides_the_inputs_and_no_passing_one_is_needed() -> None:
    problem = digits_problem()
    assert same(repaired(problem)[0], repaired(problem)[0])
    assert not same(repaired(problem)[0], repaired(replace(problem, seed=1))[0])
    repaired(replace(problem, passing=problem.passing[:0]))


def test_what_it_cannot_repair() -> None:
    problem = digits_problem()
    with pytest.raises(NotApplicable, match="at most"):
        NNRepair(max_classes=9).check(problem.task)
    with pytest.raises(NotApplicable, match="before a ReLU"):
        NNRepair(layer="intermediate").check(digits_problem(batch_norm=True).task)
    NNRepair().check(TaskSpec(Plain().eval(), "image", 10, (1, 8, 8)))
    with pytest.raises(NotApplicable, match="Linear"):
        NNRepair().check(TaskSpec(nn.Sequential(nn.Linear(64, 10), nn.Tanh()).eval(), "table", 10, (64,)))
    with pytest.raises(UsageError, match="combination=conf"):
        NNRepair(layer="intermediate", combination="conf")
    broken, dead = problem.copy(), problem.copy()
    broken.get_parameter(OUT).data[0, 0] = torch.nan
    with pytest.raises(RepairFailed, match="not finite"):
        repaired(problem_of(broken, digits_splits()))
    dead.get_parameter("net.layers.3.weight").data.zero_()
    dead.get_parameter("net.layers.3.bias").data.fill_(-1.0)
    with pytest.raises(RepairFailed, match="no expert satisfies"):
        repaired(problem_of(dead, digits_splits()))
