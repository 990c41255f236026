from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from study.errors import NotApplicable, RepairFailed
from study.methods.neuron_level import care
from study.methods.neuron_level.care import CARE
from study.parts.network.activations import entering
from study.problem.prediction import accuracy, predict
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.repairs.approach import Repaired
from tests.fitting import finished
from tests.networks import Plain, TinyNet
from tests.problems import build, digits_problem, digits_splits, problem_of, same

Logged = list[Mapping[str, Any]]


def run(problem: Problem, **settings: Any) -> tuple[Repaired, Logged]:
    """What is returned, and what was logged."""
    rounds = CARE(**({"iterations": 25} | settings)).repair(problem)
    logged: Logged = []
    while True:
        try:
            logged.append(next(rounds))
        except StopIteration as end:
            return end.value, logged


@pytest.fixture(params=[False, True], ids=["plain", "batch_norm"])
def problem(request: pytest.FixtureRequest) -> Problem:
    return digits_problem(batch_norm=request.param)


def measured(model: nn.Module, problem: Problem) -> float:
    """Fitness of a model from scratch: minus the error rate, a failing input counted twice."""
    right = predict(model, problem.repair_set).argmax(1) == problem.repair_set.labels
    failing, passing = len(problem.failing), len(problem.passing)
    wrong = 2 * (~right[problem.failing]).sum() + (~right[problem.passing]).sum()
    return -wrong.item() / (2 * failing + passing)


def changed_columns(before: nn.Module, after: nn.Module) -> dict[str, Tensor]:
    """By name of the weight, the inputs whose column differs."""
    old = before.state_dict()
    different = {name: new for name, new in after.state_dict().items() if not torch.equal(new, old[name])}
    return {name: (new != old[name]).any(0).nonzero().flatten() for name, new in different.items()}


def test_a_few_columns_of_one_weight_are_scaled(problem: Problem) -> None:
    repaired, _ = run(problem, neurons=3)
    ((name, columns),) = changed_columns(problem.faulty, repaired.model).items()
    assert name.endswith(".weight") and 0 < len(columns) <= 3
    ratio = repaired.model.get_parameter(name) / problem.faulty.get_parameter(name)
    for column in columns:
        factors = ratio[:, column][problem.faulty.get_parameter(name)[:, column] != 0]
        assert (factors - factors[0]).abs().max() < 1e-4 and -10 <= factors[0] <= 10


def test_the_best_fitness_never_falls_and_is_that_of_the_repaired_model(problem: Problem) -> None:
    for settings in ({"layer": "last"}, {"layer": "last", "guard": True}):
        repaired, logged = run(problem, **settings)
        best = [float(entry["search/best_fitness"]) for entry in logged[1:]]
        original = float(logged[0]["search/original_fitness"])
        assert original == pytest.approx(measured(problem.faulty, problem))
        assert best == sorted(best) and best[-1] > original
        found = measured(repaired.model, problem)
        assert found >= original
        if not settings.get("guard"):
            assert found == pytest.approx(best[-1])
            right = predict(repaired.model, problem.repair_set).argmax(1) == problem.repair_set.labels
            fixed = right[problem.failing].double().mean().item()
            assert float(logged[-1]["search/failing_fixed"]) == pytest.approx(fixed)


def test_of_the_layers_the_one_with_the_fittest_repair_is_changed(problem: Problem) -> None:
    repaired, logged = run(problem)
    starts = [number for number, entry in enumerate(logged) if "search/neurons" in entry]
    assert len(starts) == 3
    tops = [float(logged[end - 1]["search/best_fitness"]) for end in [*starts[1:], len(logged)]]
    assert len(set(tops)) > 1
    names = [f"{name}.weight" for name, part in problem.faulty.named_modules() if isinstance(part, nn.Linear)][::-1]
    assert list(changed_columns(problem.faulty, repaired.model)) == [names[tops.index(max(tops))]]
    assert measured(repaired.model, problem) == pytest.approx(max(tops))
    assert repaired.costs["evaluations"] == 3 * 25 * 20
    last, _ = run(problem, layer="last")
    assert list(changed_columns(problem.faulty, last.model)) == names[:1]


def test_the_neurons_of_the_largest_effect_are_scaled_or_as_many_at_random() -> None:
    problem = digits_problem()
    name = "net.layers.5"
    features = entering(problem.faulty, name, problem.repair_set)
    layer = problem.faulty.get_submodule(name)
    failing = features[problem.failing]
    with torch.no_grad():
        logits = layer(failing)
        classes = logits.argmax(1)
        effects = []
        for neuron in range(features.shape[1]):
            means = []
            for level in torch.linspace(0, 1, 4):
                forced = failing.clone()
                forced[:, neuron] = features[:, neuron].min() * (1 - level) + features[:, neuron].max() * level
                means.append(layer(forced).softmax(1).gather(1, classes[:, None]).mean().item())
            effects.append(max(means) - min(means))
    strongest = torch.tensor(effects).argsort(descending=True)[:4]
    repaired, _ = run(problem, layer="last", neurons=4)
    (causal,) = changed_columns(problem.faulty, repaired.model).values()
    assert set(causal.tolist()) <= set(strongest.tolist())
    repaired, _ = run(problem, layer="last", neurons=4, localisation="random")
    (random,) = changed_columns(problem.faulty, repaired.model).values()
    assert 0 < len(random) <= 4 and not set(random.tolist()) <= set(strongest.tolist())


def test_the_watched_inputs_matter() -> None:
    problem = digits_problem()
    first = {inputs: list(changed_columns(problem.faulty, run(problem, ie_inputs=inputs)[0].model).values())[0].tolist()
             for inputs in ("failing", "passing")}  # fmt: skip
    assert first["failing"] != first["passing"]


def test_no_iteration_leaves_the_model_as_it_is_which_is_a_result(problem: Problem) -> None:
    for search in ("swarm", "random"):
        result = finished(CARE(iterations=0, search=search), problem)
        assert result.outcome == "repaired" and not result.changed
        assert same(result.model, problem.faulty)
        assert result.costs["evaluations"] == 0


def test_the_search_can_be_replaced_by_as_many_random_draws(problem: Problem) -> None:
    swarm, random = (run(problem, layer="last", search=search) for search in ("swarm", "random"))
    assert swarm[0].costs == random[0].costs == {"evaluations": 25 * 20}
    assert measured(random[0].model, problem) < measured(swarm[0].model, problem)
    assert measured(random[0].model, problem) > measured(problem.faulty, problem)


def test_draws_that_are_no_better_than_the_unchanged_model_leave_it_as_it_is(problem: Problem) -> None:
    """With alpha=1 only passing inputs count, all of which are right before."""
    draws = {"search": "random", "alpha": 1.0, "particles": 2, "iterations": 2}
    repaired, logged = run(problem, **draws)
    assert float(logged[0]["search/original_fitness"]) == 0 and same(repaired.model, problem.faulty)
    repaired, _ = run(problem, **(draws | {"alpha": 0.0, "iterations": 10}))
    assert not same(repaired.model, problem.faulty)


def test_positions_stay_in_the_bounds_and_start_at_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    original = care.ErrorRate.__call__

    def watched(self: Any, values: Tensor, floors: Tensor | None = None) -> Tensor:
        seen.append(values)
        return original(self, values, floors)

    monkeypatch.setattr(care.ErrorRate, "__call__", watched)
    run(digits_problem(), layer="last", bounds=(0.5, 1.5), neurons=5)
    assert bool((seen[1] == 1).all()) and seen[1].shape == (20, 5)
    assert all(bool(((values >= 0.5) & (values <= 1.5)).all()) for values in seen)
    seen.clear()
    run(digits_problem(), layer="last", v0="positive")
    assert bool((seen[2] >= 1).all())  # the first step
    seen.clear()
    run(digits_problem(), layer="last")
    assert bool((seen[2] < 1).any())


def test_the_seed_decides_the_repair(problem: Problem) -> None:
    first, again = run(problem)[0].model, run(problem)[0].model
    assert same(first, again)
    assert not same(first, run(replace(problem, seed=1))[0].model)


def test_the_guard_keeps_validation_accuracy() -> None:
    problem = digits_problem()
    before = accuracy(problem.faulty, problem.validation)
    free, _ = run(problem, alpha=0.5)
    assert accuracy(free.model, problem.validation) < before
    kept, _ = run(problem, alpha=0.5, guard=True)
    assert accuracy(kept.model, problem.validation) >= before


def test_a_search_ends_when_it_gains_too_little() -> None:
    problem = digits_problem()
    early = run(problem, layer="last", tolerance=0.5, window=5)[0].costs["evaluations"]
    assert early == 20 * 6


def test_edges_are_results_or_failures_with_a_reason() -> None:
    problem = digits_problem()
    everything = torch.arange(len(problem.repair_set))
    none_right = replace(problem, failing=everything, passing=everything[:0])
    assert run(none_right)[0].costs["evaluations"] > 0
    with pytest.raises(RepairFailed, match="right on no repair input"):
        run(none_right, ie_inputs="passing")
    assert same(run(none_right, layer="last")[0].model, run(none_right, layer="last")[0].model)
    dead = problem.copy()
    dead.get_submodule("net.layers.3").weight.data.zero_()  # type: ignore[operator, union-attr]
    dead.get_submodule("net.layers.3").bias.data.fill_(-1)  # type: ignore[operator, union-attr]
    assert finished(CARE(iterations=3), problem_of(dead, digits_splits())).outcome == "repaired"  # type: ignore[arg-type]
    broken = problem.copy()
    broken.get_submodule("net.layers.3").weight.data.fill_(torch.nan)  # type: ignore[operator, union-attr]
    result = finished(CARE(iterations=3), problem_of(broken, digits_splits()))  # type: ignore[arg-type]
    assert result.outcome == "failure" and "weights are not finite" in result.reason


def test_check_names_what_is_missing() -> None:
    for model in (digits_problem().faulty, Plain().eval(), build(TinyNet).eval()):
        CARE().check(TaskSpec(model, "image", 10, (1, 8, 8)))
    with pytest.raises(NotApplicable, match="no Linear layer"):
        CARE().check(TaskSpec(nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten()).eval(), "image", 10, (1, 8, 8)))


def test_a_model_that_cannot_be_traced_is_repaired_in_its_output_layer() -> None:
    plain = Plain().eval()
    trained = dict(digits_problem().faulty.named_parameters())
    plain.hidden.weight.data[:] = trained["net.layers.1.weight"][:32]
    plain.out.weight.data[:] = trained["net.layers.5.weight"]
    problem = problem_of(plain, digits_splits())  # type: ignore[arg-type]
    assert list(changed_columns(plain, run(problem)[0].model)) == ["out.weight"]


def test_it_draws_the_scores_of_every_layer_and_the_search_of_the_best() -> None:
    repaired, _ = run(digits_problem())
    pictures = repaired.pictures()
    assert set(pictures) == {"localised_weights", "neuron_scores", "fitness"}
    assert [axes.get_title(loc="left").split(":")[0] for axes in pictures["neuron_scores"].axes] == [
        "net.layers.1", "net.layers.3", "net.layers.5"
    ]  # fmt: skip
