"""Weights between those of the faulty and of the repaired network."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from study.errors import NotApplicable
from study.problem.prediction import right
from study.problem.problem import Problem
from study.safeguards.base import taken_off
from study.safeguards.interpolation import GRID, Between, Interpolation, best_share, sample
from tests.problems import digits_problem, digits_splits, same
from tests.safeguards.models import spoilt


def trained_on(problem: Problem, steps: int = 30, lr: float = 0.003) -> nn.Module:
    """The faulty model after a few steps on its failing repair inputs, which break others."""
    model = problem.copy()
    batch = problem.repair_set.fetch(problem.failing)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch.inputs), batch.labels).backward()
        optimizer.step()
    return model.eval()


def between(problem: Problem, repaired: nn.Module, inputs: int = 500) -> Between:
    return Between(problem.faulty, repaired, sample(problem.train, inputs, problem.seed), problem.seed)


def test_at_its_ends_it_is_the_two_models() -> None:
    problem = digits_problem(batch_norm=True)
    repaired = spoilt(problem, 0.1)
    path = between(problem, repaired)
    assert same(path.at(0), problem.faulty) and same(path.at(1), repaired)


def test_between_them_every_weight_is_the_weighted_mean_and_an_unchanged_one_stays() -> None:
    problem = digits_problem()
    repaired = problem.copy()
    with torch.no_grad():
        repaired.get_parameter("net.layers.5.weight")[3, 4:9] += 1.0
    old, new = problem.faulty.state_dict(), repaired.state_dict()
    for share in (0.05, 0.35, 0.7):
        state = between(problem, repaired).at(share).state_dict()
        for name, tensor in state.items():
            assert tensor.allclose((1 - share) * old[name] + share * new[name], atol=1e-6)
            unchanged = old[name] == new[name]
            assert tensor[unchanged].equal(old[name][unchanged])


def test_statistics_of_batch_norm_are_those_of_the_training_inputs() -> None:
    problem = digits_problem(batch_norm=True)
    repaired = spoilt(problem, 0.1)
    model = between(problem, repaired, inputs=501).at(0.5)  # two batches, and one input that would be one by itself
    inputs = sample(problem.train, 500, problem.seed).tensors().inputs
    name = "net.layers.2"
    norm = model.get_submodule(name)
    assert isinstance(norm, nn.BatchNorm1d)
    entering = model.get_submodule("net.layers.1")(inputs.flatten(1)).split(250)
    assert norm.running_mean is not None and norm.running_var is not None
    assert norm.running_mean.allclose(torch.stack([part.mean(0) for part in entering]).mean(0), atol=1e-5)
    assert norm.running_var.allclose(torch.stack([part.var(0) for part in entering]).mean(0), atol=1e-5)
    mean = (problem.faulty.state_dict()[f"{name}.running_mean"] + repaired.state_dict()[f"{name}.running_mean"]) / 2
    assert not norm.running_mean.allclose(mean, atol=1e-3)
    assert not any(module.training for module in model.modules())


def literal_share(problem: Problem, repaired: nn.Module, limit: float | None) -> float:
    """Every share of the grid on both splits, in a loop."""
    best, chosen = -1, 0.0
    splits = {"validation": problem.validation, "repair": problem.repair_set}
    before = {name: right(problem.faulty, split) for name, split in splits.items()}
    for step in range(21):
        model, share = copy.deepcopy(problem.faulty), step / 20
        with torch.no_grad():
            for old, new in zip(model.parameters(), repaired.parameters(), strict=True):
                old.copy_((1 - share) * old + share * new)
        after = {name: right(model, split) for name, split in splits.items()}
        flips = [(before[name] & ~after[name]).double().mean().item() for name in splits]
        if (limit is None or max(flips) <= limit) and int(after["validation"].sum()) > best:
            best, chosen = int(after["validation"].sum()), share
    return chosen


@pytest.mark.parametrize("limit", [None, 0.1, 0.02, 0.006, 0.0])
@pytest.mark.parametrize("steps", [10, 30])
def test_the_share_is_the_best_on_validation_under_the_bound(limit: float | None, steps: int) -> None:
    problem = digits_problem()
    repaired = trained_on(problem, steps)
    share = best_share(problem, between(problem, repaired), limit)
    assert share in GRID and share == literal_share(problem, repaired, limit)
    guarded = Interpolation(nfr_max=limit).guard(problem, repaired)
    assert same(guarded, between(problem, repaired).at(share)) and taken_off(guarded) == {"share": share}


def test_it_breaks_less_than_the_repair_and_fixes_more_than_nothing() -> None:
    problem, test = digits_problem(), digits_splits()["test"]
    repaired = trained_on(problem, 10)
    guarded = Interpolation(nfr_max=0.02).guard(problem, repaired)
    before, alone, kept = (right(model, test) for model in (problem.faulty, repaired, guarded))
    assert (before & ~kept).sum() < 0.2 * (before & ~alone).sum()
    assert (~before & kept).sum() > 0.4 * (~before & alone).sum()


def test_a_repair_that_is_no_network_of_the_same_layers_is_refused() -> None:
    problem = digits_problem()
    with pytest.raises(
        NotApplicable, match="interpolation needs a repair of weights alone, and this one is a Sequential"
    ):
        Interpolation().guard(problem, nn.Sequential(problem.copy()))
    with pytest.raises(NotApplicable, match="this one has other layers"):
        Interpolation().guard(problem, digits_problem(batch_norm=True).copy())
