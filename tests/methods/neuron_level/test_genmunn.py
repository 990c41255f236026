from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import densenet121, resnet18

from study.errors import NotApplicable
from study.methods.neuron_level import genmunn
from study.methods.neuron_level.genmunn import GenMuNN
from study.parts.localisation.importance import ablation_importance, gradient_importance
from study.problem.prediction import right
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.repairs.approach import Repaired
from study.repairs.run import RepairResult
from tests.fitting import finished
from tests.networks import Plain, TinyNet
from tests.problems import digits_problem, digits_splits, problem_of, same

LAST = "net.layers.5.weight"


def run(problem: Problem, **settings: Any) -> tuple[Repaired, list[dict[str, float]]]:
    """What the repair returns and logged."""
    rounds, logged = GenMuNN(**({"population": 8, "max_rounds": 12} | settings)).repair(problem), []
    while True:
        try:
            logged.append({name: float(value) for name, value in next(rounds).items()})  # type: ignore[union-attr]
        except StopIteration as end:
            return end.value, logged


def correct(model: nn.Module, problem: Problem, split: str = "repair_set") -> int:
    return int(right(model, getattr(problem, split)).sum())


@pytest.fixture(params=[False, True], ids=["plain", "batch_norm"])
def problem(request: pytest.FixtureRequest) -> Problem:
    return digits_problem(batch_norm=request.param)


def test_no_round_and_no_mutation_leave_the_model_as_it_is(problem: Problem) -> None:
    assert same(run(problem, max_rounds=0)[0].model, problem.faulty)
    result = finished(GenMuNN(sigma=0.0, max_rounds=5), problem)
    assert result.outcome == "repaired" and not result.changed
    assert same(result.model, problem.faulty)


def test_right_answers_never_fall_and_are_those_of_the_repaired_model(problem: Problem) -> None:
    repaired, logged = run(problem, guard=False)
    counts = [round_["search/right"] for round_ in logged]
    assert counts == sorted(counts) and counts[0] == len(problem.passing) < counts[-1]
    assert correct(repaired.model, problem) == counts[-1]
    assert len(logged) == 13 and repaired.costs["evaluations"] == 1 + 12 * 8
    assert 0 < repaired.costs["passes"] < repaired.costs["evaluations"]


def test_only_weights_of_opened_windows_change(problem: Problem) -> None:
    names = [name for name, module in problem.faulty.named_modules() if isinstance(module, nn.Linear)]
    groups = (problem.failing, problem.passing)
    scores = gradient_importance(problem.faulty, names, problem.repair_set, groups)
    old = problem.faulty.state_dict()
    for rounds in (1, 4):
        new = run(problem, max_rounds=rounds, rho=0.1, guard=False)[0].model.state_dict()
        differing = {name for name in old if not torch.equal(old[name], new[name])}
        opened = [f"{name}.weight" for name in names[::-1][:rounds]]
        assert differing and differing <= set(opened)
    last = f"{names[-1]}.weight"
    size = -(-old[last].numel() // 10)
    new = run(problem, max_rounds=1, rho=0.1, guard=False)[0].model.state_dict()
    changed = (old[last] != new[last]).flatten().nonzero().flatten().tolist()
    assert set(changed) <= set(scores[names[-1]].flatten().topk(size).indices.tolist())
    assert 0 < len(changed) <= size


def test_the_seed_decides_the_patch(problem: Problem) -> None:
    first = run(problem, guard=False)[0].model
    assert same(first, run(problem, guard=False)[0].model)
    assert not same(first, run(replace(problem, seed=1), guard=False)[0].model)


def test_the_guard_hands_over_nothing_that_lowers_validation_accuracy() -> None:
    problem = digits_problem()
    free = run(problem, guard=False, rank="random", sigma=0.5)[0].model
    before = correct(problem.faulty, problem, "validation")
    split = problem.validation
    wrong_now = ~right(free, split)
    spoilt = replace(problem, validation=split.subset(wrong_now.nonzero().flatten()))  # the fittest is right on none
    assert correct(problem.faulty, spoilt, "validation") > 0
    kept, _ = run(spoilt, rank="random", sigma=0.5, guard=True)
    assert correct(kept.model, spoilt, "validation") >= correct(problem.faulty, spoilt, "validation")
    assert not same(kept.model, free)
    kept, _ = run(problem, rank="random", sigma=0.5, guard=True)
    assert correct(kept.model, problem, "validation") >= before


def test_the_guard_tries_the_last_population_first_and_then_earlier_bests(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, tried = digits_problem(), list[int]()

    def refused(problem: Problem, model: nn.Module) -> bool:
        tried.append(correct(model, problem))
        return False

    monkeypatch.setattr(genmunn, "keeps_accuracy", refused)
    repaired, logged = run(problem, guard=True, rank="random", sigma=0.5)
    counts = [int(each["search/right"]) for each in logged]
    assert len(tried) == 8 + 12 and len(set(counts)) > 3
    assert tried[0] == counts[-1] and tried[:8] == sorted(tried[:8], reverse=True)
    assert tried[8:] == counts[-2::-1]
    assert same(repaired.model, problem.faulty)  # the last to be tried


def planted(problem: Problem) -> tuple[Problem, int]:
    """The problem with one weight of the last layer, that of an active feature, multiplied by -20, and its place."""
    model = copy.deepcopy(problem.faulty)
    weight = model.get_parameter(LAST).data.view(-1)
    place = int(weight.argmax())
    weight[place] *= -20
    return problem_of(model, digits_splits()), place  # type: ignore[arg-type]


def test_a_planted_fault_is_in_the_first_window_and_its_repair_raises_accuracy() -> None:
    faulty, place = planted(digits_problem())
    names = [name for name, module in faulty.faulty.named_modules() if isinstance(module, nn.Linear)]
    rankings = GenMuNN()._rankings(faulty, torch.cat([faulty.failing, faulty.passing]), faulty.stream("search"))
    assert list(rankings) == [f"{name}.weight" for name in names]
    window = rankings[LAST][: -(-len(rankings[LAST]) * 2 // 100)]
    assert place in window.tolist()
    repaired, _ = run(faulty, max_rounds=12, sigma=0.5, guard=False)
    assert correct(repaired.model, faulty) > correct(faulty.faulty, faulty)
    # The defining step: with as many random weights of the same layer the fault is not found.
    assert (
        place
        not in GenMuNN(rank="random")
        ._rankings(faulty, torch.cat([faulty.failing, faulty.passing]), faulty.stream("search"))[LAST][: len(window)]
        .tolist()
    )


def test_a_genetic_search_beats_random_mutants_with_as_many_evaluations() -> None:
    problem = digits_problem()
    genetic, random = (
        run(problem, search=kind, rank="random", guard=False, max_rounds=30) for kind in ("genetic", "random")
    )
    assert genetic[0].costs["evaluations"] == random[0].costs["evaluations"]
    assert genetic[1][-1]["search/right"] > random[1][-1]["search/right"]
    weights = -(-problem.faulty.get_parameter("net.layers.1.weight").numel() * 2 // 100)
    assert random[1][-1]["search/weights"] <= weights  # of one window


def test_patience_ends_the_genetic_search_and_not_its_control() -> None:
    useless = {"sigma": 0.0, "patience": 2, "max_rounds": 6, "population": 2}
    rounds = [len(run(digits_problem(), search=kind, **useless)[1]) for kind in ("genetic", "random")]
    assert rounds == [1 + 2, 1 + 6]


def test_the_fitness_set_holds_all_failing_inputs_and_passing_ones_as_there_is_room() -> None:
    problem = digits_problem()
    for limit, size in ((5000, 400), (100, 100), (1, len(problem.failing))):
        chosen = GenMuNN(max_fit=limit)._fitness_set(problem, problem.stream("search"))
        assert len(set(chosen.tolist())) == len(chosen) == size
        assert set(problem.failing.tolist()) <= set(chosen.tolist())


@pytest.mark.parametrize("settings", [{"operator": "invert"}, {"operator": "block"}, {"rank": "ablation"}], ids=str)
def test_the_other_readings_run(settings: dict[str, Any]) -> None:
    _, logged = run(edge("two_classes"), max_rounds=3, population=4, **settings)
    assert len(logged) == 4


def edge(name: str) -> Problem:
    problem, splits = digits_problem(), digits_splits()
    model = copy.deepcopy(problem.faulty)
    if name == "nan":
        model.get_parameter(LAST).data[0] = torch.nan
    elif name == "dead":
        for parameter in model.parameters():
            parameter.data.zero_()
    elif name == "all_failing":
        wrong = (~right(model, splits["repair"])).nonzero().flatten()
        splits["repair"] = splits["repair"].subset(wrong)
    elif name == "two_classes":
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()  # type: ignore[assignment]
        for split in splits.values():
            split.labels = split.labels % 2
    return problem_of(model, splits)  # type: ignore[arg-type]


def test_weights_are_ranked_by_the_importance_that_is_asked_for() -> None:
    problem = edge("two_classes")
    model, split, indices = problem.faulty, problem.repair_set, torch.cat([problem.failing, problem.passing])
    expected = {
        "gradient": gradient_importance(model, ["1"], split, (problem.failing, problem.passing)),
        "ablation": ablation_importance(model, ["1"], split, indices),
    }
    found = {
        rank: GenMuNN(rank=rank)._rankings(problem, indices, problem.stream("search"))["1.weight"]
        for rank in (*expected, "random")
    }
    for rank, scores in expected.items():
        order = scores["1"].flatten().argsort(descending=True, stable=True)
        assert torch.equal(found[rank], order) and not torch.equal(found["random"], order)
    assert sorted(found["random"].tolist()) == list(range(128))
    assert not torch.equal(found["gradient"], found["ablation"])


@pytest.mark.parametrize("name", ["nan", "dead", "all_failing", "two_classes"])
def test_edges_end_with_a_result_or_a_reason(name: str) -> None:
    result: RepairResult = finished(GenMuNN(population=4, max_rounds=3), edge(name))
    assert result.outcome in ("repaired", "failure"), result.reason
    if name == "nan":
        assert result.outcome == "failure" and "weights are not finite" in result.reason


def test_it_runs_on_convolutions_residual_nets_and_what_cannot_be_traced() -> None:
    splits = digits_splits()
    splits = {name: split.subset(torch.arange(8)) for name, split in splits.items()}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stem = nn.Conv2d(1, 3, 1)
        nets = [
            TinyNet(input_shape=(1, 8, 8), num_classes=10),
            Plain(),
            nn.Sequential(stem, nn.Upsample(32), resnet18(num_classes=10)),
            nn.Sequential(stem, nn.Upsample(32), densenet121(num_classes=10)),
        ]
    for net in nets:
        problem = problem_of(net.eval(), splits)  # type: ignore[arg-type]
        GenMuNN().check(problem.task)
        repaired, _ = run(problem, population=2, max_rounds=1, guard=False)
        buffers = dict(problem.faulty.named_buffers())
        assert all(torch.equal(buffers[name], tensor) for name, tensor in repaired.model.named_buffers())


def test_check_names_what_is_missing() -> None:
    with pytest.raises(NotApplicable, match="needs a Linear or Conv2d layer"):
        GenMuNN().check(TaskSpec(nn.Flatten().eval(), "image", 10, (1, 8, 8)))


def test_it_draws_where_the_weights_are_and_how_the_search_went() -> None:
    figures = run(digits_problem(), guard=False)[0].pictures()
    assert list(figures) == ["localised_weights", "fitness"]
    unchanged = run(digits_problem(), max_rounds=0)[0].pictures()
    assert list(unchanged) == ["localised_weights", "fitness"]
