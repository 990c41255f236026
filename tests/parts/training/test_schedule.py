"""The learning-rate schedule."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from study.parts.training.schedule import (
    PEAK,
    chosen_rate,
    cosine_sgd,
    has_batch_norm,
    over_steps,
    peak_rate,
    warm_up_and_cosine,
)
from tests.problems import RECIPE


def test_rises_over_a_twentieth_then_falls_to_nothing() -> None:
    total = 200
    factors = [over_steps(total)(step) for step in range(total)]
    expected = [min(1, (t + 1) / (0.05 * total)) * (1 + math.cos(math.pi * t / total)) / 2 for t in range(total)]
    assert factors == pytest.approx(expected, abs=1e-12)
    assert factors[0] > 0
    assert max(range(total), key=factors.__getitem__) == 9
    assert warm_up_and_cosine(1.0) == pytest.approx(0)


def test_a_single_step_runs_at_the_peak() -> None:
    assert over_steps(1)(0) == 1


def test_drives_an_optimizer() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 2.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, over_steps(40))
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(1.0)
    assert rates[20] == pytest.approx(1.0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0)


def test_the_peak_is_lower_with_batch_norm() -> None:
    plain, normalised = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert not has_batch_norm(plain)
    assert has_batch_norm(normalised)
    assert peak_rate(normalised) < peak_rate(plain)


def test_the_recipes_rate_is_taken_unless_adam_runs_by_a_cosine() -> None:
    model = nn.Linear(2, 2)
    adam = dataclasses.replace(RECIPE, optimizer="adam", lr=0.3)
    sgd = dataclasses.replace(adam, optimizer="sgd")
    assert chosen_rate("auto", model, adam, "cosine") == PEAK
    assert chosen_rate("auto", nn.BatchNorm1d(2), adam, "cosine") == peak_rate(nn.BatchNorm1d(2)) < PEAK
    assert {chosen_rate("auto", model, sgd, "cosine"), chosen_rate("auto", model, adam, "constant")} == {0.3}
    assert {chosen_rate(0.1, model, recipe, "cosine") for recipe in (adam, sgd)} == {0.1}


def test_the_rate_falls_by_cosine_to_a_millionth() -> None:
    weight = nn.Parameter(torch.zeros(1))
    parts = cosine_sgd([weight], 0.01, 5e-4, steps=10)
    optimizer, schedule = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(11):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert [rates[0], rates[5], rates[10]] == pytest.approx([0.01, (0.01 + 1e-6) / 2, 1e-6])
