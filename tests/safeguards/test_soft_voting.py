"""The soft vote and the rule that sets its weight."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from study.models.votes import SoftVote, mixed
from study.problem.prediction import predict, right
from study.problem.problem import Problem
from study.safeguards.base import taken_off
from study.safeguards.soft_voting import GRID, SoftVoting, smallest_tau
from tests.problems import digits_problem, digits_splits
from tests.safeguards.models import spoilt


def negative_flips(problem: Problem, model: nn.Module) -> float:
    """Rate on validation."""
    before, after = right(problem.faulty, problem.validation), right(model, problem.validation)
    return (before & ~after).double().mean().item()


def test_smallest_tau_is_the_first_that_holds_the_flips_down() -> None:
    before = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    after = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])  # one flip of three, undone by some weight of `before`
    labels = torch.tensor([0, 0, 1])
    assert smallest_tau(before, after, labels, limit=0.4) == 0
    tau = smallest_tau(before, after, labels, limit=0.3)
    assert mixed(before, after, tau).argmax(1)[0] == 0
    assert mixed(before, after, GRID[GRID.index(tau) - 1]).argmax(1)[0] == 1


def test_where_no_weight_suffices_it_is_the_largest() -> None:
    before, after = torch.tensor([[0.1, 0.0]]), torch.tensor([[-50.0, 50.0]])
    assert smallest_tau(before, after, torch.tensor([0]), limit=0.0) == GRID[-1] == 0.95


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("nfr_max", [0.05, 0.1])
def test_negative_flips_on_validation_are_at_most_half_of_the_limit(noise: float, nfr_max: float) -> None:
    problem = digits_problem()
    repaired = spoilt(problem, noise)
    guarded = SoftVoting(tau="auto", nfr_max=nfr_max).guard(problem, repaired)
    assert taken_off(guarded) == {"tau": guarded.tau if isinstance(guarded, SoftVote) else 0}
    assert negative_flips(problem, guarded) <= nfr_max / 2
    assert negative_flips(problem, repaired) > nfr_max / 2 or guarded is repaired
    if isinstance(guarded, SoftVote):
        expected = mixed(
            predict(problem.faulty, problem.validation), predict(repaired, problem.validation), guarded.tau
        )
        assert predict(guarded, problem.validation).equal(expected)
        smaller = GRID[GRID.index(guarded.tau) - 1]
        looser = SoftVote(problem.copy(), repaired, smaller) if smaller else repaired
        assert negative_flips(problem, looser) > nfr_max / 2


def test_without_too_many_flips_the_repaired_model_answers_alone() -> None:
    problem = digits_problem()
    repaired = spoilt(problem, 0.1)
    assert negative_flips(problem, repaired) > 0
    assert SoftVoting(tau="auto", nfr_max=1).guard(problem, repaired) is repaired


@pytest.mark.parametrize("nfr_max", [-0.1, 1.1, float("nan")])
def test_the_limit_is_a_rate(nfr_max: float) -> None:
    with pytest.raises(ValidationError, match="nfr_max"):
        SoftVoting(nfr_max=nfr_max)


@pytest.mark.parametrize("tau", [0, 1, "half"])
def test_the_weight_is_between_the_two_models(tau: float) -> None:
    with pytest.raises(ValidationError, match="tau"):
        SoftVoting(tau=tau)


def test_both_models_count_alike_unless_it_is_said_otherwise() -> None:
    problem, inputs = digits_problem(), digits_splits()["test"].tensors().inputs
    repaired = spoilt(problem, 0.1)
    expected = (problem.faulty(inputs).softmax(1) + repaired(inputs).softmax(1)) / 2
    guarded = SoftVoting().guard(problem, repaired)
    assert guarded(inputs).exp().allclose(expected, atol=1e-6) and taken_off(guarded) == {}  # nothing was fitted
