from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from study.errors import NotApplicable, RepairFailed
from study.methods.neuron_level import arachne
from study.methods.neuron_level.arachne import Arachne
from study.parts.localisation.weights import Localiser
from study.parts.selection.repair_inputs import passing_sample, random_failing
from study.problem.prediction import predict, right
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.storage.models import weights_hash
from tests.networks import Plain
from tests.problems import digits_problem, digits_splits, problem_of


def run(problem: Problem, **settings: Any) -> tuple[nn.Module, list[Mapping[str, Any]]]:
    """The repaired model and what was logged."""
    rounds = Arachne(**({"population": 20, "generations": 12} | settings)).repair(problem)
    logged = []
    while True:
        try:
            logged.append(next(rounds))
        except StopIteration as end:
            return end.value.model, logged


@pytest.fixture(params=[False, True], ids=["plain", "batch_norm"])
def problem(request: pytest.FixtureRequest) -> Problem:
    return digits_problem(batch_norm=request.param)


def differing(before: nn.Module, after: nn.Module) -> list[str]:
    """Names of the parameters and buffers that differ."""
    old = before.state_dict()
    return [name for name, tensor in after.state_dict().items() if not torch.equal(tensor, old[name])]


def fitness_from_scratch(model: nn.Module, problem: Problem, alpha: float) -> float:
    """Of a model, with all failing inputs as targets."""
    logits = predict(model, problem.repair_set)
    labels = problem.repair_set.labels
    loss = nn.functional.cross_entropy(logits, labels, reduction="none")
    phi = torch.where(logits.argmax(1) == labels, 1.0, 1 / (loss + 1)).double()
    return (phi[problem.passing].sum() + alpha * phi[problem.failing].sum()).item()


def test_only_weights_of_the_front_differ(problem: Problem) -> None:
    before = weights_hash(problem.faulty)
    repaired, logged = run(problem)
    assert weights_hash(problem.faulty) == before
    old, new = problem.faulty.state_dict(), repaired.state_dict()
    changed = {name: int((old[name] != new[name]).sum()) for name in old if not torch.equal(old[name], new[name])}
    weights = {f"{name}.weight" for name, module in problem.faulty.named_modules() if isinstance(module, nn.Linear)}
    assert set(changed) <= weights
    assert 0 < sum(changed.values()) <= logged[0]["search/places"]


def test_the_logged_fitness_is_that_of_the_repaired_model_and_never_falls(problem: Problem) -> None:
    repaired, logged = run(problem, alpha=4.0, neg_fraction=1.0)
    best = [float(entry["search/best_fitness"]) for entry in logged[1:]]
    assert best == sorted(best)
    assert best[-1] == pytest.approx(fitness_from_scratch(repaired, problem, 4.0), abs=1e-3)
    assert logged[0]["search/original_fitness"] == pytest.approx(
        fitness_from_scratch(problem.faulty, problem, 4.0), abs=1e-3
    )
    assert logged[0]["search/original_fitness"] < best[-1] <= len(problem.passing) + 4.0 * len(problem.failing)
    right = predict(repaired, problem.repair_set).argmax(1) == problem.repair_set.labels
    assert float(logged[-1]["search/failing_fixed"]) == pytest.approx(right[problem.failing].double().mean().item())
    assert float(logged[-1]["search/passing_kept"]) == pytest.approx(right[problem.passing].double().mean().item())
    assert right[problem.failing].any()


def test_the_seed_decides_the_repair(problem: Problem) -> None:
    first, again = run(problem)[0], run(problem)[0]
    assert weights_hash(first) == weights_hash(again)
    assert weights_hash(run(replace(problem, seed=1))[0]) != weights_hash(first)


def test_no_generation_is_no_repair(problem: Problem) -> None:
    for accept in ("if_better", "always"):
        with pytest.raises(RepairFailed, match="generations=0"):
            run(problem, generations=0, accept=accept)


def test_a_patch_must_beat_the_original_unless_always() -> None:
    problem = digits_problem()
    with pytest.raises(RepairFailed, match="beats the original"):
        run(problem, population=4, generations=1, alpha=0.01)
    repaired, _ = run(problem, population=4, generations=1, alpha=0.01, accept="always")
    assert weights_hash(repaired) != weights_hash(problem.faulty)


def test_the_guard_hands_over_no_patch_that_lowers_validation_accuracy() -> None:
    problem = digits_problem()
    before = right(problem.faulty, problem.validation).sum()
    greedy = {"alpha": 50.0, "population": 30}
    assert right(run(problem, **greedy)[0], problem.validation).sum() < before
    with pytest.raises(RepairFailed, match="lowers validation accuracy"):
        run(problem, guard=True, **greedy)
    lenient = replace(problem, validation=problem.repair_set.subset(problem.failing))  # every repair is a gain there
    assert weights_hash(run(lenient, guard=True, **greedy)[0]) == weights_hash(run(problem, **greedy)[0])


def test_the_guard_takes_only_what_beats_the_original_unless_all_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, floors = digits_problem(), list[float]()

    class Watched(arachne.Guard):
        def __init__(self, problem: Problem, places: Any, floor: float) -> None:
            super().__init__(problem, places, floor)
            floors.append(floor)

    monkeypatch.setattr(arachne, "Guard", Watched)
    for accept in ("if_better", "always"):
        run(problem, accept=accept)
    assert floors == [pytest.approx(fitness_from_scratch(problem.faulty, problem, 4.0), abs=1e-3), -torch.inf]


def test_it_searches_the_pareto_front_of_gradient_loss_and_forward_impact(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps 2 to 5 once more, from their parts: what changed lies on that front, and all of it was searched."""
    generator = problem.stream("search")
    targets = random_failing(problem, 1.0, generator)
    name = "net.layers.5" if isinstance(problem.faulty.get_submodule("net.layers.5"), nn.Linear) else "net.layers.7"
    localiser = Localiser(problem.faulty, [name])
    scores = []
    for indices in (targets, passing_sample(problem, len(targets), generator)):
        gradients = localiser.gradients(problem.repair_set, indices)
        impact = localiser.forward_impact(problem.repair_set, indices, gradients.back)
        scores.append((gradients.loss[name].flatten(), impact[name].flatten()))
    (loss, impact), (passing_loss, passing_impact) = scores
    specific, general = loss / (1 + passing_loss), impact / (1 + passing_impact)
    dominated = (specific[None] > specific[:, None]) & (general[None] > general[:, None])
    front = {number for number, beaten in enumerate(dominated.any(1).tolist()) if not beaten}
    objectives, pareto_front = list[tuple[Tensor, Tensor]](), arachne.pareto_front

    def watched(first: Tensor, second: Tensor) -> Tensor:
        objectives.append((first, second))
        return pareto_front(first, second)

    monkeypatch.setattr(arachne, "pareto_front", watched)
    repaired, logged = run(problem, generations=30)
    torch.testing.assert_close(objectives, [(specific, general)])
    old, new = (model.get_parameter(f"{name}.weight").flatten() for model in (problem.faulty, repaired))
    changed = set((old != new).nonzero().flatten().tolist())
    assert logged[0]["search/places"] == len(front) and 1 < len(changed) <= len(front)
    assert changed <= front


def test_its_controls_search_other_weights_and_draw_at_random(problem: Problem) -> None:
    """As many weights of the same layer; as many evaluations."""
    everything = {"population": 40, "generations": 30}
    evolved, logged = run(problem, **everything)
    elsewhere, logged_elsewhere = run(problem, localisation="random", **everything)
    drawn, logged_drawn = run(problem, search="random", **everything)
    assert logged[0]["search/places"] == logged_elsewhere[0]["search/places"] == logged_drawn[0]["search/places"]
    assert differing(problem.faulty, evolved) == differing(problem.faulty, elsewhere)
    assert len(logged_drawn) == 1 + 31
    assert float(logged[-1]["search/best_fitness"]) > float(logged_drawn[-1]["search/best_fitness"])
    assert len({weights_hash(model) for model in (evolved, elsewhere, drawn)}) == 3


def test_what_it_cannot_repair() -> None:
    problem = digits_problem()
    with pytest.raises(RepairFailed, match="right on no repair input"):
        run(replace(problem, passing=problem.passing[:0]))
    dead = problem.copy()
    for parameter in dead.parameters():
        parameter.data.zero_()
    dead.get_submodule("net.layers.5").bias.data[:] = 0  # no input reaches the weights, and no gradient
    with pytest.raises(RepairFailed, match="gradient loss"):
        run(problem_of(dead, digits_splits()))


def test_options_choose_targets_and_layers() -> None:
    problem = digits_problem()
    logits = predict(problem.faulty, problem.repair_set)
    pairs = torch.stack([problem.repair_set.labels, logits.argmax(1)], 1)[problem.failing]
    kinds, counts = pairs.unique(dim=0, return_counts=True)
    assert run(problem, target="top_type", alpha=10.0)[1][0]["search/targets"] == counts.max()
    share = run(problem, neg_fraction=0.5, alpha=10.0)[1][0]["search/targets"]
    assert share == max(1, len(problem.failing) // 2) and len(kinds) > 1
    repaired, logged = run(problem, layers="last", max_places=1)
    assert logged[0]["search/places"] == 1
    assert differing(problem.faulty, repaired) == ["net.layers.5.weight"]
    anywhere = {"localisation": "random", "accept": "always"}
    repaired, _ = run(problem, layers="all", **anywhere)
    assert "net.layers.1.weight" in differing(problem.faulty, repaired)
    repaired, _ = run(problem, layers="last", **anywhere)
    assert differing(problem.faulty, repaired) == ["net.layers.5.weight"]


def test_check_names_what_is_missing_and_leaves_the_global_generator_alone() -> None:
    outlines = [digits_problem().task, TaskSpec(Plain().eval(), "image", 10, (1, 8, 8))]
    state = torch.get_rng_state()
    for task in outlines:
        Arachne().check(task)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(NotApplicable, match="needs a Linear or Conv2d layer"):
        Arachne().check(TaskSpec(nn.Flatten().eval(), "image", 10, (1, 8, 8)))


def test_a_model_that_cannot_be_traced_is_repaired_in_its_output_layer() -> None:
    plain = Plain().eval()
    trained = dict(digits_problem().faulty.named_parameters())
    plain.hidden.weight.data[:] = trained["net.layers.1.weight"][:32]
    plain.out.weight.data[:] = trained["net.layers.5.weight"]
    repaired, _ = run(problem_of(plain, digits_splits()))
    assert differing(plain, repaired) == ["out.weight"]


def test_every_trial_stays_within_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = digits_problem()
    bounds: list[tuple[Tensor, Tensor]] = []
    vectors: list[Tensor] = []
    original = arachne.differential_evolution

    def watched(fitness: Any, start: Tensor, lower: Tensor, upper: Tensor, **settings: Any) -> Iterator[Any]:
        bounds.append((lower, upper))
        start = start.clamp(lower, upper)
        for population in original(fitness, start, lower, upper, **settings):
            vectors.append(population.vectors)
            yield population

    monkeypatch.setattr(arachne, "differential_evolution", watched)
    run(problem)
    lower, upper = bounds[0]
    assert all(bool(((v >= lower) & (v <= upper)).all()) for v in vectors)


def test_the_search_starts_from_and_is_bounded_by_the_statistics_of_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Step 7: values normal as the layer's weights are, within twice their range."""
    problem, seen = digits_problem(), list[tuple[Tensor, Tensor, Tensor]]()
    original = arachne.differential_evolution

    def watched(fitness: Any, start: Tensor, lower: Tensor, upper: Tensor, **settings: Any) -> Iterator[Any]:
        seen.append((start, lower, upper))
        return original(fitness, start, lower, upper, **settings)

    monkeypatch.setattr(arachne, "differential_evolution", watched)
    run(problem, population=2000, generations=1, max_places=3)
    weight = problem.faulty.get_parameter("net.layers.5.weight").detach()
    assert weight.min() < 0 < weight.max()
    ((start, lower, upper),) = seen
    assert start.shape == (2000, 3) and not start[0].equal(start[1])
    torch.testing.assert_close(start.mean(0), weight.mean().expand(3), atol=0.1 * float(weight.std()), rtol=0)
    torch.testing.assert_close(start.std(0), weight.std(correction=0).expand(3), atol=0, rtol=0.1)
    torch.testing.assert_close(lower, (2 * weight.min()).expand(3))
    torch.testing.assert_close(upper, (2 * weight.max()).expand(3))
