from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import VGG, densenet121, resnet18

from study.errors import NotApplicable, RepairFailed
from study.methods.neuron_level import vere
from study.methods.neuron_level.vere import Vere
from study.parts.localisation.margin_bounds import interval_edges
from study.parts.localisation.neuron_effects import Effects
from study.parts.network.hidden_layer import HiddenLayer, SplitAtLayer
from study.parts.training.neuron_targets import Loss, TinyNetwork, train_neuron
from study.problem.prediction import accuracy, predict
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.storage.models import weights_hash
from tests.fitting import driven
from tests.networks import TinyNet
from tests.problems import build, digits_problem, digits_splits, problem_of, same


@pytest.fixture(params=[False, True], ids=["plain", "batch_norm"])
def problem(request: pytest.FixtureRequest) -> Problem:
    return digits_problem(batch_norm=request.param)


def run(problem: Problem, **settings: Any) -> tuple[nn.Module, dict[str, list[float]], Any]:
    """The repaired model, each curve, and what else the repair returned."""
    repaired, curves = driven(Vere(**({"rounds": 6} | settings)), problem)
    return repaired.model, {name: [y for _, y in points] for name, points in curves.values.items()}, repaired


def right(model: nn.Module, problem: Problem) -> int:
    return int((predict(model, problem.repair_set).argmax(1) == problem.repair_set.labels).sum())


def effects_of(problem: Problem, times: float = 1.0) -> Effects:
    pool = SplitAtLayer(HiddenLayer.of(problem.faulty, problem.task.example(2)), problem.repair_set)
    return Effects.of(pool, problem.failing, interval_edges(pool.values, times, 10))


def test_only_the_weights_of_the_logged_neurons_differ_and_more_inputs_are_right(problem: Problem) -> None:
    before = weights_hash(problem.faulty)
    repaired, curves, _ = run(problem, guard=False)
    assert weights_hash(problem.faulty) == before
    layer = HiddenLayer.of(problem.faulty, problem.task.example(2))
    neurons, old = {int(number) for number in curves["search/neuron"]}, problem.faulty.state_dict()
    own, reader = layer.names
    changed: dict[str, set[int]] = {}
    for name, tensor in repaired.state_dict().items():
        places = (tensor != old[name]).nonzero()
        if len(places):
            changed[name] = set(places[:, 1 if name == f"{reader}.weight" else 0].tolist())
    assert set(changed) == {f"{own}.weight", f"{own}.bias", f"{reader}.weight", f"{reader}.bias"}
    assert all(changed[name] <= neurons for name in changed if name != f"{reader}.bias")
    assert right(repaired, problem) == curves["search/best_right"][-1] > len(problem.passing)
    assert curves["search/best_right"] == sorted(curves["search/best_right"])


def test_each_round_takes_the_neuron_that_could_mend_most_margins(problem: Problem) -> None:
    """Step 5 by loops over the neurons and inputs, from the bounds."""
    effects = effects_of(problem)
    total = [0.0] * len(effects.edges)
    for item, margin in enumerate(effects.margins.tolist()):
        gains = [max(0.0, float(bounds[item].max()) - margin) for bounds in effects.bounds]
        low, high = min(gains), max(gains)
        total = [t + ((g - low) / (high - low) if high > low else 0.0) for t, g in zip(total, gains, strict=True)]
    torch.testing.assert_close(effects.significance(), torch.tensor(total), rtol=1e-4, atol=1e-4)
    _, curves, _ = run(problem, rounds=1)
    assert curves["search/neuron"] == [total.index(max(total))]
    assert curves["search/significance"][0] == pytest.approx(max(total), rel=1e-3)
    logits = predict(problem.faulty, problem.repair_set.subset(problem.failing))
    labels = problem.repair_set.labels[problem.failing]
    torch.testing.assert_close(effects.margins, logits.gather(1, labels[:, None])[:, 0] - logits.amax(1))


def test_targets_are_the_nearest_verified_interval_or_the_best_end(problem: Problem) -> None:
    """Step 6 by loops."""
    effects, kinds = effects_of(problem, times=3.0), set()
    for number in range(len(effects.edges)):
        lower, upper = effects.targets(number)
        for item in range(len(effects.items)):
            present, bounds = effects.present[item, number], effects.bounds[number, item]
            edges = effects.edges[number]
            verified = [k for k in range(10) if bounds[k, 0] > 0 and bounds[k, 1] > 0]
            expected, kind = (present, present), "present"
            if verified:
                k = min(verified, key=lambda k: min(abs(edges[k] - present), abs(edges[k + 1] - present)))
                expected, kind = (edges[k], edges[k + 1]), "verified"
            elif bounds.max() > effects.margins[item]:
                k, end = divmod(int(bounds.flatten().argmax()), 2)
                expected, kind = (edges[k + end], edges[k + end]), "point"
            assert (lower[item], upper[item]) == expected
            kinds.add(kind)
    assert {"verified", "point"} <= kinds


def test_a_verified_value_beats_the_class_that_was_predicted(problem: Problem) -> None:
    effects = effects_of(problem, times=3.0)
    layer = HiddenLayer.of(problem.faulty, problem.task.example(2))
    logits = layer.logits(effects.present)
    labels, predicted = problem.repair_set.labels[problem.failing], logits.argmax(1)
    found = 0
    for number in range(len(effects.edges)):
        lower, upper = effects.targets(number)
        sure = effects.verified[number].any(1)
        moved = effects.present.clone()
        moved[:, number] = (lower + upper) / 2
        after = layer.logits(moved)
        margins = after.gather(1, labels[:, None]) - after.gather(1, predicted[:, None])
        assert bool((margins[sure] > 0).all())
        found += int(sure.sum())
    assert found


def test_a_neuron_that_never_varies_is_not_chosen() -> None:
    problem = digits_problem()
    dead = problem.copy()
    first = dead.get_submodule("net.layers.1")
    assert isinstance(first, nn.Linear)
    number = int(effects_of(problem).significance().argmax())
    with torch.no_grad():
        first.weight[number], first.bias[number] = 0, -1
    dead_problem = problem_of(dead, digits_splits())  # type: ignore[arg-type]
    assert effects_of(dead_problem).significance()[number] == pytest.approx(0, abs=1e-3)
    assert number not in run(dead_problem, rounds=3)[1]["search/neuron"]


def test_the_guard_hands_over_no_model_that_is_worse_on_validation(problem: Problem) -> None:
    before = accuracy(problem.faulty, problem.validation)
    worse = 0
    for seed in range(3):
        seeded = replace(problem, seed=seed)
        kept, _, _ = run(seeded, lr=0.03, epochs=5, guard=True)
        free, _, _ = run(seeded, lr=0.03, epochs=5, guard=False)
        assert accuracy(kept, problem.validation) >= before
        worse += accuracy(free, problem.validation) < before
    assert worse


def test_the_guard_refuses_nothing_that_keeps_validation_accuracy() -> None:
    problem = digits_problem()
    lenient = replace(problem, validation=problem.repair_set)  # what improves the score improves it there
    repaired = run(lenient, guard=True, rounds=3)[0]
    assert same(repaired, run(lenient, guard=False, rounds=3)[0]) and not same(repaired, problem.faulty)


Trainings = list[tuple[torch.Tensor, Loss, dict[str, Any]]]


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    """What every neuron is trained on, by which loss and how."""
    seen: Trainings = []

    def watched(tiny: TinyNetwork, entering: torch.Tensor, loss: Loss, **settings: Any) -> int:
        seen.append((entering, loss, settings))
        return train_neuron(tiny, entering, loss, **settings)

    monkeypatch.setattr(vere, "train_neuron", watched)
    return seen


def test_a_neuron_learns_on_wrong_inputs_and_so_many_times_more_right_ones(trainings: Trainings) -> None:
    """The right ones are to send on what they do: any other value costs the square of the step."""
    problem = digits_problem()
    settings = {"max_fail": 3, "ratio": 2, "batch_size": 2, "epochs": 1, "lr": 0.02}
    _, curves, returned = run(problem, rounds=1, **settings)
    ((entering, loss, used),) = trainings
    assert (used["epochs"], used["batch_size"], used["lr"]) == (1, 2, 0.02)
    assert returned.costs["neuron_steps"] == 5
    layer = HiddenLayer.of(problem.faulty, problem.task.example(2))
    split = SplitAtLayer(layer, problem.repair_set, torch.cat([problem.failing[:3], problem.passing[:6]]))
    assert torch.equal(entering, split.entering)
    present, rows = split.values[:, int(curves["search/neuron"][0])], torch.arange(9)
    assert loss(present[:3], rows[:3]) > 0 == loss(present[3:], rows[3:])
    for step in (0.5, -0.5):
        assert float(loss(present[3:] + step, rows[3:])) == pytest.approx(0.25, rel=1e-4)


def test_features_learn_at_a_rate_of_their_own(trainings: Trainings) -> None:
    posed = problem_of(build(widths=[]), digits_splits())
    run(posed, rounds=1, adaptability="extended", lr=0.5, lr_features=0.25)
    assert [used["lr"] for _, _, used in trainings] == [0.25]


def test_no_round_and_no_improvement_leave_the_model_as_it_is(problem: Problem) -> None:
    repaired, _, returned = run(problem, rounds=0)
    assert same(repaired, problem.faulty) and returned.costs["evaluations"] == 0
    assert set(returned.pictures()) == {"localised_weights", "fitness"}
    assert same(run(problem, epochs=0)[0], problem.faulty)


def test_the_seed_decides_the_repair(problem: Problem) -> None:
    first, again = run(problem, guard=False)[0], run(problem, guard=False)[0]
    assert weights_hash(first) == weights_hash(again)
    assert weights_hash(run(replace(problem, seed=1), guard=False)[0]) != weights_hash(first)


def test_the_controls_take_any_neuron_and_learn_from_the_output() -> None:
    problem = digits_problem()
    neurons = run(problem, localisation="random", rounds=8)[1]["search/neuron"]
    assert len(set(neurons)) > 4 and neurons != run(problem, rounds=8)[1]["search/neuron"]
    verified, output = (run(problem, targets=kind, guard=False, rounds=1) for kind in ("verified", "output"))
    assert verified[1]["search/neuron"] == output[1]["search/neuron"]
    assert not same(verified[0], output[0])


def test_pools_are_capped_and_pictures_drawn() -> None:
    problem = digits_problem()
    _, _, returned = run(problem, failing_pool=4, passing_pool=20, max_fail=3, rounds=1)
    assert returned.costs["bounds"] == 64 * 3 * 10
    assert returned.costs["neuron_steps"] == 10  # epochs: 3 failing and 20 passing inputs are one mini-batch
    assert set(returned.pictures()) == {"localised_weights", "fitness", "neuron_scores"}


def small_vgg() -> VGG:
    """A VGG with BatchNorm for digits, with a small head of two hidden layers."""
    features = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(True), nn.MaxPool2d(2))
    with torch.device("meta"):
        net = VGG(nn.Identity(), num_classes=10, init_weights=False)
    net.features, net.avgpool = features, nn.AdaptiveAvgPool2d(2)
    dense = [nn.Linear(32, 24), nn.ReLU(True), nn.Dropout(), nn.Linear(24, 16), nn.ReLU(True), nn.Dropout()]
    net.classifier = nn.Sequential(*dense, nn.Linear(16, 10))
    return net.eval()


def test_the_verdicts_follow_the_head() -> None:
    def verdict(net: nn.Module, shape: tuple[int, ...], adaptability: str) -> bool:
        try:
            Vere(adaptability=adaptability).check(TaskSpec(net.eval(), "image", 10, shape))
        except NotApplicable:
            return False
        return True

    tiny, colour = TinyNet(input_shape=(1, 8, 8), num_classes=10), (3, 32, 32)
    for net, shape, expected in (
        (small_vgg(), (1, 8, 8), (True, True, True)),
        (tiny, (1, 8, 8), (False, True, True)),
        (resnet18(num_classes=10), colour, (False, False, True)),
        (densenet121(num_classes=10), colour, (False, False, True)),
    ):
        verdicts = tuple(verdict(net, shape, each) for each in ("study", "structural", "extended"))
        assert verdicts == expected, type(net).__name__


def test_it_repairs_deeper_heads_convolutional_networks_and_features() -> None:
    deep = build(widths=[24, 20, 16])
    for net, settings in ((small_vgg(), {}), (deep, {}), (build(widths=[]), {"adaptability": "extended"})):
        splits = digits_splits()
        model = net if net is deep or "adaptability" in settings else copy.deepcopy(net)
        few = torch.arange(60)
        posed = problem_of(model, {**splits, "repair": splits["repair"].subset(few)})  # type: ignore[arg-type]
        repaired, curves, _ = run(posed, rounds=2, guard=False, **settings)
        assert len(curves["search/neuron"]) == 2
        assert right(repaired, posed) == curves["search/best_right"][-1]


def test_what_it_cannot_repair() -> None:
    problem = digits_problem()
    repaired, _, _ = run(replace(problem, passing=problem.passing[:0]), rounds=2)
    assert isinstance(repaired, nn.Module)
    broken = problem.copy()
    broken.get_submodule("net.layers.5").weight.data[0, 0] = torch.nan  # type: ignore[union-attr]
    with pytest.raises(RepairFailed, match="not finite"):
        run(problem_of(broken, digits_splits()))  # type: ignore[arg-type]
    with pytest.raises(RepairFailed, match="not finite"):
        run(problem, lr=1e38)
