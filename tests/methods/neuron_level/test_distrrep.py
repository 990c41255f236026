from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from study.errors import NotApplicable, RepairFailed
from study.methods.neuron_level import distrrep
from study.methods.neuron_level.distrrep import DistrRep
from study.parts.search.merging import Merge
from study.parts.selection.risk import Risk, frequent_errors
from study.problem.prediction import accuracy, predict
from study.problem.problem import Problem
from study.repairs.approach import Repaired
from study.storage.models import weights_hash
from tests.fitting import finished
from tests.networks import Plain
from tests.problems import digits_problem, digits_splits, problem_of


def run(problem: Problem, **settings: Any) -> tuple[Repaired, list[Mapping[str, Any]]]:
    """What it returns, and what was logged."""
    rounds = DistrRep(**({"particles": 30, "iterations": 12, "n_pos": 100} | settings)).repair(problem)
    logged = []
    while True:
        try:
            logged.append(next(rounds))
        except StopIteration as end:
            return end.value, logged


@pytest.fixture(params=[False, True], ids=["plain", "batch_norm"])
def problem(request: pytest.FixtureRequest) -> Problem:
    return digits_problem(batch_norm=request.param)


@pytest.fixture
def merges(monkeypatch: pytest.MonkeyPatch) -> list[Merge]:
    """Every merge that is made."""
    made: list[Merge] = []
    original = Merge.of

    def watched(*arguments: Any) -> Merge:
        made.append(original(*arguments))
        return made[-1]

    monkeypatch.setattr(distrrep.Merge, "of", watched)
    return made


def score_from_scratch(model: nn.Module, problem: Problem) -> float:
    """The risk score by rule `auto`, from a confusion matrix."""
    labels = problem.repair_set.labels
    predicted, before = (predict(m, problem.repair_set).argmax(1) for m in (model, problem.faulty))
    risk = frequent_errors(labels, before, 10, 5, 3)
    confusion = torch.zeros(10, 10, dtype=torch.float64)
    confusion.index_put_((labels, predicted), torch.ones(len(labels), dtype=torch.float64), accumulate=True)
    return float(risk.perfect(labels, 10) - (confusion * risk.costs(labels, 10)).sum())


def test_only_weights_of_the_fronts_differ_and_lie_between_the_repairs(problem: Problem, merges: list[Merge]) -> None:
    before = weights_hash(problem.faulty)
    model = run(problem)[0].model
    assert weights_hash(problem.faulty) == before
    old, new = problem.faulty.state_dict(), model.state_dict()
    changed = [name for name in old if not torch.equal(old[name], new[name])]
    last = [name for name, module in problem.faulty.named_modules() if isinstance(module, nn.Linear)][-1]
    assert changed == [f"{last}.weight"]
    (merge,) = merges
    places = (old[changed[0]] != new[changed[0]]).flatten().nonzero().flatten()
    assert len(places) > 0 and bool(torch.isin(places, merge.places.index).all())
    whole = torch.cat([merge.present[None], merge.proposed])
    values = new[changed[0]].flatten()[merge.places.index]
    assert bool(((values >= whole.amin(0)) & (values <= whole.amax(0))).all())


def test_the_best_score_is_that_of_the_repaired_model_and_never_falls(problem: Problem) -> None:
    repaired, logged = run(problem)
    best = [float(entry["search/best_fitness"]) for entry in logged if "search/best_fitness" in entry]
    assert best == sorted(best)
    assert best[-1] == pytest.approx(score_from_scratch(repaired.model, problem))
    assert best[-1] > score_from_scratch(problem.faulty, problem)
    assert sum("repair/best_fitness" in entry for entry in logged) == repaired.costs["repairs"]


def test_each_repair_has_the_fitness_of_its_own_misclassification(problem: Problem, merges: list[Merge]) -> None:
    """Each repair alone, written into the faulty model: counts and losses of its failing and of all passing inputs."""
    _, logged = run(problem, n_pos=None)
    (merge,), labels = merges, problem.repair_set.labels
    before = predict(problem.faulty, problem.repair_set).argmax(1)
    kinds = frequent_errors(labels, before, 10, 5, 3).among(labels, before, problem.failing)
    assert len(kinds) == len(merge.member) > 2
    expected, fixed = [], []
    last = [name for name, module in problem.faulty.named_modules() if isinstance(module, nn.Linear)][-1]
    for failing, values in zip(kinds.values(), merge.proposed, strict=True):
        model = problem.copy()
        model.get_parameter(f"{last}.weight").data.view(-1)[merge.places.index] = values
        total = 0.0
        for part in (problem.repair_set.subset(failing), problem.repair_set.subset(problem.passing)):
            logits = predict(model, part)
            loss = nn.functional.cross_entropy(logits, part.labels).item()
            total += (int((logits.argmax(1) == part.labels).sum()) + 1) / (loss + 1)
        expected.append(total)
        fixed.append(float((predict(model, problem.repair_set).argmax(1) == labels)[failing].double().mean()))
    repairs = [entry for entry in logged if "repair/best_fitness" in entry]
    assert [float(entry["repair/best_fitness"]) for entry in repairs] == pytest.approx(expected, rel=1e-4)
    assert [float(entry["repair/failing_fixed"]) for entry in repairs] == pytest.approx(fixed)


def test_of_each_misclassification_so_many_weights_per_failing_input_are_candidates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts, original = list[tuple[int, int]](), distrrep.failing_front

    def watched(model: Any, name: str, split: Any, failing: Any, candidates: int) -> Any:
        counts.append((len(failing), candidates))
        return original(model, name, split, failing, candidates)

    monkeypatch.setattr(distrrep, "failing_front", watched)
    run(digits_problem(), n_grad=3, accept="always")
    assert len({failing for failing, _ in counts}) > 1
    assert all(candidates == 3 * failing for failing, candidates in counts)


def test_each_repair_starts_from_the_faulty_model_whatever_the_order(merges: list[Merge]) -> None:
    problem = digits_problem()
    labels, predicted = problem.repair_set.labels, predict(problem.faulty, problem.repair_set).argmax(1)
    found = frequent_errors(labels, predicted, 10, 3, 0)
    run(problem, risk=found, accept="always")
    run(problem, risk=Risk(targets=found.targets[::-1], w_risk=found.w_risk[::-1]), accept="always")
    first, again = merges
    assert torch.equal(first.places.index, again.places.index)
    assert torch.equal(first.proposed, again.proposed.flip(0)) and torch.equal(first.present, again.present)


def test_the_merge_by_risk_beats_the_sum_of_the_repairs(problem: Problem) -> None:
    best = {kind: run(problem, merge=kind, accept="always")[1][-1]["search/best_fitness"] for kind in ("risk", "sum")}
    assert best["risk"] > best["sum"]


def test_fronts_and_swarms_serve_better_than_chance() -> None:
    def total(**settings: Any) -> float:
        """Sum over the repairs of the best fitness, over three problems."""
        logged = [run(digits_problem(seed=seed), accept="always", **settings)[1] for seed in range(3)]
        return sum(float(entry.get("repair/best_fitness", 0.0)) for entries in logged for entry in entries)

    best = total()
    assert best > total(search="random")
    assert best > total(localisation="random")


def test_the_seed_decides_the_repair(problem: Problem) -> None:
    first, again = run(problem)[0].model, run(problem)[0].model
    assert weights_hash(first) == weights_hash(again)
    assert weights_hash(run(replace(problem, seed=1))[0].model) != weights_hash(first)


def test_a_risk_decides_what_is_repaired(problem: Problem) -> None:
    labels, predicted = problem.repair_set.labels, predict(problem.faulty, problem.repair_set).argmax(1)
    wrong = labels[problem.failing].unique().tolist()
    repaired, _ = run(problem, risk={"classes": wrong[:2]}, accept="always")
    assert repaired.costs["repairs"] == 2
    with pytest.raises(NotApplicable, match="two misclassifications"):
        run(problem, risk={"classes": wrong[:1]})
    never = next(
        (t, p) for t in range(10) for p in range(10) if t != p and not ((labels == t) & (predicted == p)).any()
    )
    assert run(problem, risk={"targets": [never], "classes": wrong[:2]}, accept="always")[0].costs["repairs"] == 2


def test_where_it_is_not_applicable() -> None:
    task = digits_problem().task
    DistrRep().check(task)
    with pytest.raises(NotApplicable, match="method.risk is null"):
        DistrRep(risk=None).check(task)
    with pytest.raises(NotApplicable, match="names class 10"):
        DistrRep(risk=Risk(classes=(3, 10))).check(task)
    with pytest.raises(NotApplicable, match="logits"):
        DistrRep().check(replace(task, model=nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Tanh()).eval()))
    study = DistrRep(adaptability="study")
    study.check(replace(task, dataset="digits"))
    for name in ("mnist", "utkface"):
        DistrRep().check(replace(task, dataset=name))
        with pytest.raises(NotApplicable, match=f"the study found none for {name}"):
            study.check(replace(task, dataset=name))


def test_what_it_cannot_repair() -> None:
    problem = digits_problem()
    with pytest.raises(RepairFailed, match="right on no repair input"):
        run(replace(problem, passing=problem.passing[:0]))
    with pytest.raises(RepairFailed, match="iterations=0"):
        run(problem, iterations=0)
    with pytest.raises(RepairFailed, match="beats the original"):
        run(problem, particles=1, iterations=1)
    dead = problem.copy()
    dead.get_parameter("net.layers.3.weight").data.zero_()
    dead.get_parameter("net.layers.3.bias").data.zero_()
    with pytest.raises(RepairFailed, match="gradient loss"):
        run(problem_of(dead, digits_splits()))


def test_nan_weights_are_a_failure_with_its_reason() -> None:
    spoilt = digits_problem().copy()
    spoilt.get_parameter("net.layers.3.weight").data.fill_(torch.nan)
    result = finished(DistrRep(particles=5, iterations=2), problem_of(spoilt, digits_splits()))
    assert result.outcome == "failure" and result.reason


def test_the_guard_takes_only_what_beats_the_original_unless_all_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, floors = digits_problem(), list[float]()

    class Watched(distrrep.Guard):
        def __init__(self, problem: Problem, places: Any, floor: float) -> None:
            super().__init__(problem, places, floor)
            floors.append(floor)

    monkeypatch.setattr(distrrep, "Guard", Watched)
    for accept in ("if_better", "always"):
        run(problem, accept=accept)
    assert floors == [pytest.approx(score_from_scratch(problem.faulty, problem)), -torch.inf]


def test_the_guard_hands_over_nothing_that_lowers_validation_accuracy() -> None:
    problem = digits_problem()
    try:
        model = run(problem, guard=True)[0].model
    except RepairFailed as end:
        assert "validation accuracy" in str(end)
        model = run(problem)[0].model
        assert accuracy(model, problem.validation) < accuracy(problem.faulty, problem.validation)
    else:
        assert accuracy(model, problem.validation) >= accuracy(problem.faulty, problem.validation)


def test_a_model_that_cannot_be_traced_is_repaired() -> None:
    plain = Plain().eval()
    trained = dict(digits_problem().faulty.named_parameters())
    plain.hidden.weight.data[:] = trained["net.layers.1.weight"][:32]
    plain.out.weight.data[:] = trained["net.layers.5.weight"]
    model = run(problem_of(plain, digits_splits()), accept="always")[0].model
    assert not torch.equal(model.out.weight, plain.out.weight)
    assert torch.equal(model.hidden.weight, plain.hidden.weight) and torch.equal(model.out.bias, plain.out.bias)
