"""INNER on digits: what it changes, what it may not change, and what its options do."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from study.errors import NotApplicable, RepairFailed
from study.methods.neuron_level import inner as module
from study.methods.neuron_level.inner import Inner
from study.parts.localisation.anomaly import anomaly_scores
from study.parts.localisation.routing import Routing, voted
from study.parts.network.blocks import blocks_of
from study.parts.network.structure import Structure
from study.parts.selection.random_subset import random_subset
from study.parts.training.probe_repair import ProbeRepair, Updates
from study.parts.training.probes import ProbeTraining, answers, probe_answers
from study.parts.training.validation_flips import Rule
from study.problem.prediction import right
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.repairs.approach import Repaired
from study.runtime.fit import Stage
from tests.fitting import driven, finished, fitted
from tests.networks import Plain, TinyNet
from tests.problems import build, digits_problem, digits_splits, problem_of, same

QUICK: dict[str, Any] = {
    "probe_inputs": 300,
    "probe_epochs": 15,
    "epochs": 3,
    "lr": 0.02,
    "guard": False,
    "route_inputs": 10,
}


@pytest.fixture(params=[False, True], ids=["plain", "batch_norm"])
def problem(request: pytest.FixtureRequest) -> Problem:
    return digits_problem(batch_norm=request.param)


def inner(**settings: Any) -> Inner:
    return Inner(**(QUICK | settings))


def stages_of(approach: Inner, problem: Problem) -> tuple[ProbeTraining, ProbeRepair, Repaired]:
    """The two trainings, fitted, and the result."""
    stages: list[Any] = []
    steps = approach.repair(problem)
    while True:
        try:
            item = next(steps)
        except StopIteration as end:
            return stages[0], stages[1], end.value
        if isinstance(item, Stage):
            fitted(item)
            stages.append(item)


def test_it_changes_masked_weights_and_biases_of_the_chosen_blocks_alone(problem: Problem) -> None:
    _, repair, repaired = stages_of(inner(keep="top_ratio", select="last"), problem)
    (target,) = repair.targets
    before, after = problem.faulty.state_dict(), repaired.model.state_dict()
    weight, bias = f"{target.block.layer}.weight", f"{target.block.layer}.bias"
    assert {name for name in after if not torch.equal(after[name], before[name])} == {weight, bias}
    moved = after[weight] != before[weight]
    assert not moved[~target.mask].any() and moved.sum() > target.mask.sum() / 2
    assert repaired.costs["places"] == target.mask.sum() == round(0.3 * moved.numel())
    assert repaired.costs["evaluations"] == 6


def test_no_epoch_changes_nothing(problem: Problem) -> None:
    repaired, _ = driven(inner(epochs=0, guard=True), problem)
    assert same(repaired.model, problem.faulty) and repaired.costs["evaluations"] == 0


def test_the_probe_of_the_last_block_knows_what_the_network_knows(problem: Problem) -> None:
    """It reads what the classifier reads: it should learn its inputs about as well."""
    training, _, _ = stages_of(inner(probe_inputs=800, probe_epochs=50), problem)
    known = (answers(training.probes[-1], training.features[-1]).argmax(1) == training.labels).double().mean()
    assert known >= right(problem.faulty, problem.train).double().mean() - 0.05


def test_the_most_anomalous_block_is_repaired(problem: Problem) -> None:
    training, repair, _ = stages_of(inner(blocks="anomaly", probe_epochs=4), problem)
    _, curves = driven(inner(blocks="anomaly", probe_epochs=4), problem)
    scores = {
        name.removeprefix("anomaly/"): points[0][1] for name, points in curves.values.items() if "anomaly" in name
    }
    assert len(scores) == len(training.probes) == 2
    generator, structure = problem.stream("search"), Structure(problem.copy())
    failing, passing = (
        random_subset(problem.repair_set, len(problem.failing), generator, within=within)
        for within in (problem.failing, problem.passing)
    )
    blocks, few = blocks_of(structure, failing.inputs[:1]), torch.arange(min(30, len(failing)))
    expected = anomaly_scores(
        *(probe_answers(structure, blocks, training.probes, split.subset(few)) for split in (passing, failing))
    )
    assert [scores[block.layer] for block in blocks] == pytest.approx(expected.tolist(), rel=1e-4)
    assert repair.targets[0].block.layer == max(scores, key=scores.__getitem__)
    both = stages_of(inner(n_layers=5, probe_epochs=4), problem)[1]
    assert [target.block.layer for target in both.targets] == sorted(scores, key=scores.__getitem__, reverse=True)


def test_the_controls_take_as_many_and_others(problem: Problem) -> None:
    masks = {
        routing: stages_of(inner(keep="top_ratio", routing=routing), problem)[1].targets[0].mask
        for routing in ("gates", "random")
    }
    assert masks["gates"].sum() == masks["random"].sum() and not torch.equal(masks["gates"], masks["random"])
    anomalous, random = (
        [
            stages_of(inner(blocks=blocks, epochs=1, probe_epochs=1), replace(problem, seed=seed))[1]
            .targets[0]
            .block.layer
            for seed in range(6)
        ]
        for blocks in ("anomaly", "random")
    )
    assert len(set(random)) == 2 and anomalous != random
    at_probe, at_output = (driven(inner(loss=loss), problem)[0].model for loss in ("probe", "output"))
    assert not same(at_probe, at_output)


def test_each_block_is_routed_and_repaired_by_its_own_probe_on_failing_inputs(problem: Problem) -> None:
    """Steps 1 and 4 once more, from their parts."""
    routing = {"route_inputs": 5, "route_iters": 6, "route_lr": 0.05, "route_l1": 0.02}
    for ratio, keep in ((0.3, "top_ratio"), (None, "votes")):
        training, repair, _ = stages_of(inner(n_layers=2, probe_epochs=4, epochs=1, keep=keep, **routing), problem)
        generator, count = problem.stream("search"), len(problem.failing)
        failing, passing = (
            random_subset(problem.repair_set, count, generator, within=within)
            for within in (problem.failing, problem.passing)
        )
        assert torch.equal(repair.inputs.inputs, failing.inputs)
        assert torch.equal(repair.passing.labels, passing.labels) and len(training.labels) == 300
        structure = Structure(problem.copy())
        names = [block.layer for block in blocks_of(structure, failing.inputs[:1])]
        assert len(repair.targets) == len(names) == 2
        for block in blocks_of(structure, failing.inputs[:1]):
            (target,) = (target for target in repair.targets if target.block.layer == block.layer)
            assert target.probe is training.probes[names.index(block.layer)]
            routed = failing.subset(torch.arange(5))
            votes = Routing(6, 0.05, 0.02).votes_in(structure, block, target.probe, routed)
            assert torch.equal(target.mask, voted(votes, ratio))


def test_its_settings_reach_the_training_of_probes_and_the_repair() -> None:
    problem = digits_problem()
    moves = {"clean_passes": 1, "lr": 0.013, "alpha": 0.6, "temperature": 2.0, "loss": "output", "bn": "train"}
    rule = {"select": "last", "beta": 0.5, "stop_acc_drop": 0.2, "stop_fail": 0.05, "guard": True}
    probes = {"probe_inputs": 200, "probe_epochs": 2, "probe_lr": 0.02}
    made = inner(**moves, **rule, **probes, batch_size=7, mask_bias=True, epochs=0)
    steps, stages = made.repair(problem), list[Any]()
    training = next(steps)
    assert isinstance(training, ProbeTraining)
    assert (len(training.labels), training.max_epochs) == (200, 2)
    assert training.configure_optimizers().param_groups[0]["lr"] == 0.02

    def repair(*arguments: Any, **settings: Any) -> ProbeRepair:
        stages.append(ProbeRepair(*arguments, **settings))
        return stages[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ProbeRepair", repair)
        fitted(training)
        list(steps)
    assert stages[0].updates == Updates(batch=7, mask_bias=True, **moves)  # type: ignore[arg-type]
    assert stages[0].candidates.rule == Rule("last", 0.5, 0.2, 0.05, True)


def test_it_repairs_by_its_probes() -> None:
    """With probes that learnt the labels failing inputs are fixed; ones that learnt nothing spoil the network."""
    problem = digits_problem(batch_norm=True)
    failing = problem.repair_set.subset(problem.failing)
    settings = {"clean_passes": 0, "epochs": 10, "select": "last", "route_inputs": 100}
    fixed = right(driven(inner(**settings), problem)[0].model, failing).sum()
    blind = right(driven(inner(**settings, probe_epochs=0), problem)[0].model, failing).sum()
    assert fixed >= len(failing) // 3 > blind


def test_the_guard_hands_over_no_less_accurate_model(problem: Problem) -> None:
    accuracy = right(problem.faulty, problem.validation).sum()
    repaired, _ = driven(inner(guard=True, lr=0.002), problem)
    assert right(repaired.model, problem.validation).sum() >= accuracy
    with pytest.raises(RepairFailed, match="keeps the faulty model's validation accuracy"):
        driven(inner(guard=True, lr=5.0), problem)
    wild, _ = driven(inner(lr=5.0), problem)
    assert right(wild.model, problem.validation).sum() < accuracy


def test_the_seed_decides(problem: Problem) -> None:
    first, again = (driven(inner(), problem)[0].model for _ in range(2))
    assert same(first, again)
    assert not same(first, driven(inner(), replace(problem, seed=1))[0].model)


def test_a_network_with_convolutions_and_every_option() -> None:
    torch.manual_seed(0)
    problem = problem_of(build(TinyNet), digits_splits())  # not trained: most inputs fail
    options: list[dict[str, Any]] = [{}, {"bn": "train"}, {"mask_bias": True}, {"alpha": 1.0}, {"n_layers": 2}]
    for settings in options:
        result = finished(inner(**settings), problem)
        assert result.outcome == "repaired", result.reason
    assert set(result.pictures) == {"votes", "localised_weights", "score"}


def test_what_it_cannot_repair() -> None:
    problem = digits_problem()
    with pytest.raises(RepairFailed, match="right on no repair input"):
        driven(inner(), replace(problem, passing=problem.passing[:0]))
    broken = problem.copy()
    broken.get_submodule("net.layers.1").weight.data[0, 0] = math.nan
    wrong = replace(problem, faulty=broken)
    with pytest.raises(RepairFailed, match="not finite"):
        driven(inner(), wrong)
    dead = problem.copy()
    dead.get_submodule("net.layers.1").weight.data.zero_()
    dead.get_submodule("net.layers.1").bias.data.fill_(-1)  # no gradient reaches a gate
    with pytest.raises(RepairFailed, match="no weight a vote"):
        driven(inner(n_layers=2), replace(problem, faulty=dead))


def test_odd_repair_sets_are_no_crash(problem: Problem) -> None:
    odd = [
        replace(problem, failing=problem.failing[:1]),
        replace(problem, passing=problem.passing[:1]),
        replace(problem, failing=problem.failing[:1], passing=problem.passing[:2]),
    ]
    for each in odd:
        for bn in ("frozen", "train"):
            assert finished(inner(bn=bn), each).outcome in ("repaired", "failure")


def test_check_names_what_is_missing() -> None:
    state = torch.get_rng_state()
    Inner().check(digits_problem().task)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(NotApplicable, match="cannot be traced"):
        Inner().check(TaskSpec(Plain().eval(), "image", 10, (1, 8, 8)))
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    with pytest.raises(NotApplicable, match="needs two blocks"):
        Inner().check(TaskSpec(linear, "image", 10, (1, 8, 8)))
