from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from study.errors import NotApplicable, RepairFailed
from study.methods.neuron_level import neurecover
from study.methods.neuron_level.neurecover import NeuRecover, linear_layers
from study.parts.localisation.history import Change, Impact, Suspicion, turned
from study.parts.localisation.weights import Localiser, pooled
from study.parts.network.places import Entries
from study.problem.prediction import accuracy, predict
from study.problem.problem import Problem
from study.repairs.approach import Repaired
from study.storage.models import weights_hash
from tests.fitting import finished
from tests.networks import Plain
from tests.problems import digits_problem, digits_splits, problem_of


def run(problem: Problem, **settings: Any) -> tuple[Repaired, list[Mapping[str, Any]]]:
    """What it returns, and what was logged."""
    quick = {"particles": 30, "iterations": 12, "n_pos": 100, "reduction_rate": 2.0}
    rounds = NeuRecover(**(quick | settings)).repair(problem)
    logged = []
    while True:
        try:
            logged.append(next(rounds))
        except StopIteration as end:
            return end.value, logged


@pytest.fixture(params=[False, True], ids=["plain", "batch_norm"])
def problem(request: pytest.FixtureRequest) -> Problem:
    return digits_problem(batch_norm=request.param)


def differing(before: nn.Module, after: nn.Module) -> dict[str, int]:
    """Parameters and buffers that differ, and in how many entries."""
    old, new = before.state_dict(), after.state_dict()
    return {name: int((old[name] != new[name]).sum()) for name in old if not torch.equal(old[name], new[name])}


def fitness_from_scratch(model: nn.Module, problem: Problem, alpha: float) -> float:
    """Of a model, with all passing inputs."""
    total = 0.0
    for weight, indices in ((1.0, problem.failing), (alpha, problem.passing)):
        part = problem.repair_set.subset(indices)
        logits = predict(model, part)
        share = (logits.argmax(1) == part.labels).double().mean().item()
        total += weight * (share + 1) / (nn.functional.cross_entropy(logits, part.labels).item() + 1)
    return total


def test_only_suspects_differ(problem: Problem) -> None:
    before = weights_hash(problem.faulty)
    repaired, logged = run(problem)
    assert weights_hash(problem.faulty) == before
    changed = differing(problem.faulty, repaired.model)
    weights = {f"{name}.weight" for name, module in problem.faulty.named_modules() if isinstance(module, nn.Linear)}
    assert set(changed) <= weights
    names = linear_layers(problem.faulty, problem.repair_set.inputs[:2])
    assert problem.history is not None
    localiser = Localiser(problem.faulty, names)
    harm, good = (Impact.on(localiser, problem.repair_set, i) for i in turned(problem, problem.history))
    suspects = Suspicion(harm, good, Change.between(problem.faulty, problem.history, names)).suspects(2.0)
    old, new = (pooled({n: m.get_parameter(f"{n}.weight") for n in names}) for m in (problem.faulty, repaired.model))
    assert bool(torch.isin((old != new).nonzero().flatten(), suspects).all())
    assert 0 < sum(changed.values()) <= logged[0]["search/places"] == repaired.costs["places"]


def test_the_logged_fitness_is_that_of_the_repaired_model_and_never_falls(problem: Problem) -> None:
    repaired, logged = run(problem, n_pos=None, alpha=0.5)
    best = [float(entry["search/best_fitness"]) for entry in logged[1:]]
    assert best == sorted(best) and best[-1] <= 2 + 2 * 0.5
    assert best[-1] == pytest.approx(fitness_from_scratch(repaired.model, problem, 0.5), rel=1e-4)
    assert best[-1] > fitness_from_scratch(problem.faulty, problem, 0.5)
    right = predict(repaired.model, problem.repair_set).argmax(1) == problem.repair_set.labels
    assert float(logged[-1]["search/failing_fixed"]) == pytest.approx(right[problem.failing].double().mean().item())
    assert float(logged[-1]["search/passing_kept"]) == pytest.approx(right[problem.passing].double().mean().item())
    assert repaired.costs["evaluations"] == 30 * len(best)


def named(places: Entries) -> set[tuple[str, int]]:
    """Each as the name of its parameter and its entry there."""
    pairs = zip(places.owner.tolist(), places.index.tolist(), strict=True)
    return {(places.names[number], entry) for number, entry in pairs}


def places_of(problem: Problem, stream: str = "search", **settings: Any) -> set[tuple[str, int]]:
    """What it would search."""
    return named(NeuRecover(**settings)._localised(problem, problem.stream(stream)))


def test_as_many_weights_of_the_same_layers_at_random_are_the_control(problem: Problem) -> None:
    suspects, drawn = places_of(problem), places_of(problem, localisation="random")
    layers = {f"{name}.weight" for name in linear_layers(problem.faulty, problem.repair_set.inputs[:2])}
    assert {name for name, _ in drawn} <= layers and len(suspects) == len(drawn) > 4
    assert len(suspects & drawn) < len(suspects) / 2
    assert drawn != places_of(problem, "another", localisation="random")


def test_without_history_failing_inputs_speak_against_a_weight_and_passing_ones_for_it(problem: Problem) -> None:
    model, names = problem.faulty, linear_layers(problem.faulty, problem.repair_set.inputs[:2])
    localiser = Localiser(model, names)
    harm, good = (Impact.on(localiser, problem.repair_set, i) for i in (problem.failing, problem.passing))
    suspects = Suspicion(harm, good, Change.unknown(model, names)).suspects(1.0)
    expected = named(Entries.pooled(model, names, suspects))
    assert places_of(problem, history="none", reduction_rate=1.0) == expected
    assert places_of(problem, reduction_rate=1.0) != expected


def test_the_swarm_finds_more_than_random_draws() -> None:
    best = {kind: run(digits_problem(), search=kind)[1][-1]["search/best_fitness"] for kind in ("swarm", "random")}
    assert best["swarm"] > best["random"]


def test_the_seed_decides_the_repair(problem: Problem) -> None:
    first, again = run(problem)[0].model, run(problem)[0].model
    assert weights_hash(first) == weights_hash(again)
    assert weights_hash(run(replace(problem, seed=1))[0].model) != weights_hash(first)


def test_what_has_no_history_is_not_applicable() -> None:
    problem = digits_problem(history=False)
    with pytest.raises(NotApplicable, match="without training history"):
        NeuRecover().check(problem.task)
    with pytest.raises(NotApplicable, match="first epoch"):
        run(problem)
    NeuRecover(history="none").check(problem.task)
    assert run(problem, history="none", reduction_rate=1.0)[0].costs["places"] > 0
    with pytest.raises(NotApplicable, match="needs a Linear layer"):
        model = nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten()).eval()
        NeuRecover().check(replace(digits_problem().task, model=model))


def test_what_it_cannot_repair() -> None:
    problem = digits_problem()
    with pytest.raises(RepairFailed, match="right on no repair input"):
        run(replace(problem, passing=problem.passing[:0]))
    with pytest.raises(RepairFailed, match="turned no repair input"):
        run(replace(problem, history=problem.faulty))
    with pytest.raises(RepairFailed, match="no weight is suspect"):
        run(problem, reduction_rate=0.0)
    with pytest.raises(RepairFailed, match="iterations=0"):
        run(problem, iterations=0)
    with pytest.raises(RepairFailed, match="beats the original"):
        run(problem, particles=1, iterations=1, alpha=1000.0)
    run(problem, particles=1, iterations=1, alpha=1000.0, accept="always")


def test_without_an_improved_input_nothing_is_protected() -> None:
    problem = digits_problem()
    assert problem.history is not None
    improved = turned(problem, problem.history).improved
    kept = problem.passing[~torch.isin(problem.passing, improved)]
    assert run(replace(problem, passing=kept), accept="always")[0].costs["places"] > 0


def test_the_guard_takes_only_what_beats_the_original_unless_all_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, floors = digits_problem(), list[float]()

    class Watched(neurecover.Guard):
        def __init__(self, problem: Problem, places: Any, floor: float) -> None:
            super().__init__(problem, places, floor)
            floors.append(floor)

    monkeypatch.setattr(neurecover, "Guard", Watched)
    for accept in ("if_better", "always"):
        run(problem, accept=accept, n_pos=None)
    assert floors == [pytest.approx(fitness_from_scratch(problem.faulty, problem, 1.0), rel=1e-4), -torch.inf]


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


@pytest.mark.parametrize("damage", [torch.nan, 0.0])
def test_a_spoilt_network_is_a_failure_with_its_reason(damage: float) -> None:
    problem = digits_problem()
    spoilt = problem.copy()
    for name, parameter in spoilt.named_parameters():
        if "layers.3" in name or not damage:
            parameter.data.fill_(damage)
    result = finished(
        NeuRecover(particles=5, iterations=2), problem_of(spoilt, digits_splits(), history=problem.faulty)
    )
    assert result.outcome == "failure" and result.reason


def test_a_model_that_cannot_be_traced_is_repaired_in_its_output_layer() -> None:
    plain = Plain().eval()
    trained = dict(digits_problem().faulty.named_parameters())
    plain.hidden.weight.data[:] = trained["net.layers.1.weight"][:32]
    plain.out.weight.data[:] = trained["net.layers.5.weight"]
    repaired, _ = run(problem_of(plain, digits_splits()), history="none", reduction_rate=0.5, accept="always")
    assert set(differing(plain, repaired.model)) == {"out.weight"}
