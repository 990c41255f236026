"""Bootstrapped intervals: that they are what resampling the inputs themselves gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from study.metrics.accuracy import Accuracy
from study.metrics.compatibility import Churn, PositiveFlipRate
from study.metrics.counted import Counted, resampled
from study.metrics.fairness import AverageAbsoluteOddsDifference
from study.metrics.negative_flips import NegativeFlipRate
from study.metrics.repair_rate import RepairRate
from tests.metrics.test_libraries import drawn

METRICS = [Accuracy, RepairRate, NegativeFlipRate, AverageAbsoluteOddsDifference]


def interval(metric: Counted, data: tuple[Tensor, ...], resamples: int = 1000) -> tuple[float, float] | None:
    metric.reset()
    metric.update(*data)
    metric.compute()
    return metric.interval(resamples, np.random.default_rng(0))


@pytest.mark.parametrize("metric", METRICS)
def test_an_interval_is_that_of_inputs_drawn_anew(metric: type[Counted]) -> None:
    data = drawn(0, classes=3, number=400)
    generator, values = torch.Generator().manual_seed(0), []
    for _ in range(1000):
        chosen = torch.randint(400, (400,), generator=generator)
        own = metric()
        own.update(*(column[chosen] for column in data))
        values.append(own.compute()["after"].item())
    ends = interval(metric(), data)
    assert ends is not None
    width = ends[1] - ends[0]
    assert ends == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.1 * width)


def test_of_a_share_the_width_is_that_of_the_normal_interval() -> None:
    before, after, target, groups = drawn(1, number=3000)
    share = (after.argmax(1) == target).double().mean().item()
    ends = interval(Accuracy(), (before, after, target, groups))
    half = 1.96 * (share * (1 - share) / 3000) ** 0.5
    assert ends == pytest.approx((share - half, share + half), abs=0.1 * half)


def test_a_resample_without_an_error_does_not_count() -> None:
    target = torch.zeros(3, dtype=torch.long)
    wrong, right = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
    before, after = torch.stack([wrong, wrong, right]), torch.stack([right, wrong, right])
    assert interval(RepairRate(), (before, after, target)) == (0.0, 1.0)
    assert interval(RepairRate(), (before[[0, 2, 2]], after[[0, 2, 2]], target)) is None  # all or nothing to repair


def test_where_no_resample_differs_there_is_no_interval() -> None:
    before, _, target, groups = drawn(2)
    assert interval(NegativeFlipRate(), (before, before, target, groups)) is None


def test_other_metrics_have_none() -> None:
    assert interval(PositiveFlipRate(), drawn(3)) is None
    assert interval(Churn(), drawn(3)) is None


def test_as_many_inputs_are_drawn_and_none_of_an_empty_cell() -> None:
    counts = resampled(torch.tensor([0, 5, 0, 95]), 200, np.random.default_rng(0))
    assert counts.sum(1).eq(100).all() and counts[:, [0, 2]].eq(0).all()
    assert counts[:, 1].double().mean().item() == pytest.approx(5, abs=0.5)
