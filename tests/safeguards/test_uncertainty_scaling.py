"""The temperature at which the faulty model is as sharp as the repaired one."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from torch import Tensor

from study.models.votes import SoftVote
from study.problem.prediction import predict
from study.runtime.randomness import stream
from study.safeguards.base import taken_off
from study.safeguards.uncertainty_scaling import UncertaintyScaling, best_fit, squared_error
from tests.problems import digits_problem, digits_splits
from tests.safeguards.models import spoilt


def logits(scale: float = 3.0) -> Tensor:
    return scale * torch.randn(300, 6, generator=stream(0, "logits"))


@pytest.mark.parametrize("true", [0.5, 2.0, 4.0])
def test_without_a_regulariser_the_temperature_between_two_models_is_found(true: float) -> None:
    before = logits()
    assert UncertaintyScaling(regulariser=0).temperature(before, before / true) == pytest.approx(true, abs=1e-2)


def test_the_fit_is_the_least_of_the_objective() -> None:
    before, after = logits(), logits() / 1.5
    found = best_fit(before, after, (1.0, 2.0, 3.0), 5e-4)
    assert found is not None
    grid = torch.linspace(0.2, 5, 4801, dtype=torch.float64)
    target = after.double().softmax(1)
    objective = [squared_error(before.double(), target, t) + 5e-4 * t**2 for t in grid]
    assert found == pytest.approx(grid[torch.stack(objective).argmin()].item(), abs=2e-3)
    assert found < 1.49  # the regulariser draws it to zero


def test_of_several_starts_the_one_that_ends_lowest_counts() -> None:
    before = logits()
    for starts in ((1.0, 1e4), (1e4, 1.0)):  # where all answers are alike nothing says which way is down
        assert best_fit(before, before / 2, (1e4,), 0.0) == pytest.approx(1e4, rel=0.1)
        assert best_fit(before, before / 2, starts, 0.0) == pytest.approx(2.0, abs=1e-2)


def test_a_low_temperature_is_fitted_again_without_the_regulariser() -> None:
    before = logits(0.3)  # errors so small that the regulariser, not the data, sets T
    after = before / 0.82
    drawn = best_fit(before, after, (1.0, 2.0, 3.0), 5e-4)
    assert drawn is not None and drawn < 0.8
    assert UncertaintyScaling().temperature(before, after) == pytest.approx(0.82, abs=1e-2)
    assert UncertaintyScaling(low=0).temperature(before, after) == drawn


def test_where_nothing_can_be_fitted_the_faulty_model_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    before = logits()
    with caplog.at_level(logging.WARNING):
        assert UncertaintyScaling().temperature(before, torch.full_like(before, math.nan)) == 1
    assert "no temperature could be fitted" in caplog.text


def test_the_vote_mixes_the_faulty_model_at_that_temperature() -> None:
    problem, inputs = digits_problem(), digits_splits()["test"].tensors().inputs
    repaired = spoilt(problem, 0.1)
    safeguard = UncertaintyScaling()
    vote = safeguard.guard(problem, repaired)
    before, after = predict(problem.faulty, problem.validation), predict(repaired, problem.validation)
    temperature = safeguard.temperature(before, after)
    assert isinstance(vote, SoftVote) and vote.temperature == temperature != 1
    assert taken_off(vote) == {"temperature": temperature}
    expected = ((problem.faulty(inputs) / temperature).softmax(1) + repaired(inputs).softmax(1)) / 2
    assert vote(inputs).exp().allclose(expected, atol=1e-6)
