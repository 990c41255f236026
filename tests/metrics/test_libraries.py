"""The metrics that an independent library, or a literal loop over the definition, computes too."""

from __future__ import annotations

import itertools

import fairlearn.metrics
import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, brier_score_loss, confusion_matrix, recall_score
from statsmodels.stats.contingency_tables import mcnemar
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from study.metrics.base import Comparison
from study.metrics.calibration import BrierScore, ExpectedCalibrationError
from study.metrics.fairness import (
    AverageAbsoluteOddsDifference,
    DemographicParityDifference,
    EqualOpportunityDifference,
    WorstGroupAccuracy,
)
from study.metrics.mcnemar import McNemar, mcnemar_p

Data = tuple[Tensor, Tensor, Tensor, Tensor]


def drawn(seed: int, classes: int = 2, groups: int = 2, number: int = 300) -> Data:
    """Logits of two models that are better than chance, labels and groups, one of which is treated worse."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(classes, (number,), generator=generator)
    group = torch.randint(groups, (number,), generator=generator)
    logits = [2 * torch.randn(number, classes, generator=generator) for _ in range(2)]
    for own in logits:
        own[torch.arange(number), target] += 2.0 - group
    return logits[0], logits[1], target, group


def values(metric: Comparison, data: Data) -> dict[str, float]:
    metric.update(*data)
    return {when: value.item() for when, value in metric.compute().items()}


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("bins", [15, 4])
def test_calibration_error_is_that_of_torchmetrics(classes: int, bins: int) -> None:
    before, after, target, groups = drawn(0, classes)
    after = after * 40  # many a probability is exactly 1
    expected = {
        when: multiclass_calibration_error(logits.softmax(1), target, classes, bins, "l1").item()
        for when, logits in (("before", before), ("after", after))
    }
    found = values(ExpectedCalibrationError(bins=bins), (before, after, target, groups))
    assert found == pytest.approx(expected, rel=1e-5)
    assert found["after"] > found["before"]


@pytest.mark.parametrize("classes", [2, 5])
def test_brier_score_is_that_of_scikit_learn(classes: int) -> None:
    before, after, target, groups = drawn(1, classes)
    expected = {
        when: brier_score_loss(
            target.numpy(), logits.double().softmax(1).numpy(), scale_by_half=False, labels=list(range(classes))
        )
        for when, logits in (("before", before), ("after", after))
    }
    assert values(BrierScore(), (before, after, target, groups)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("repaired", "broken"), [(0, 0), (1, 0), (5, 5), (12, 3), (3, 12), (140, 104), (2000, 1800)])
def test_p_value_is_that_of_statsmodels_and_of_the_sign_test(repaired: int, broken: int) -> None:
    expected = mcnemar([[0, broken], [repaired, 0]], exact=True).pvalue if repaired + broken else 1.0
    tails = 2 * sum(_binomial(repaired + broken, k) for k in range(min(repaired, broken) + 1))
    assert mcnemar_p(repaired, broken) == pytest.approx(expected) == pytest.approx(min(1.0, tails))


def _binomial(number: int, successes: int) -> float:
    from math import lgamma, log

    logarithm = lgamma(number + 1) - lgamma(successes + 1) - lgamma(number - successes + 1) - number * log(2)
    return float(np.exp(logarithm))


def test_the_discordant_inputs_are_tested() -> None:
    before, after, target, _ = drawn(2)
    table = confusion_matrix(before.argmax(1) == target, after.argmax(1) == target)
    expected = mcnemar(table, exact=True).pvalue
    assert values(McNemar(), (before, after, target, target))["after"] == pytest.approx(expected)


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_equal_opportunity_and_demographic_parity_are_the_largest_difference_of_two_groups(groups: int) -> None:
    data = drawn(3, groups=groups)
    for when, predicted in (("before", data[0].argmax(1)), ("after", data[1].argmax(1))):
        parts = [(predicted[data[3] == group], data[2][data[3] == group]) for group in range(groups)]
        recalls = [recall_score(target, answers) for answers, target in parts]
        selected = [(answers == 1).double().mean().item() for answers, _ in parts]
        assert values(EqualOpportunityDifference(), data)[when] == pytest.approx(_largest(recalls))
        assert values(DemographicParityDifference(), data)[when] == pytest.approx(_largest(selected))
        worst = min(accuracy_score(target, answers) for answers, target in parts)
        assert values(WorstGroupAccuracy(), data)[when] == pytest.approx(worst)


@pytest.mark.parametrize(("classes", "groups"), [(2, 2), (2, 4), (7, 2), (7, 3)])
def test_odds_difference_is_what_a_loop_over_classes_finds(classes: int, groups: int) -> None:
    data = drawn(4, classes, groups)
    for when, predicted in (("before", data[0].argmax(1)), ("after", data[1].argmax(1))):
        differences = []
        for own in range(classes):
            tables = [
                confusion_matrix(data[2][data[3] == group] == own, predicted[data[3] == group] == own)
                for group in range(groups)
            ]
            rates = [(table[1, 1] / table[1].sum(), table[0, 1] / table[0].sum()) for table in tables]
            differences.append([_largest(column) for column in zip(*rates, strict=True)])
        assert values(AverageAbsoluteOddsDifference(), data)[when] == pytest.approx(np.mean(differences))


@pytest.mark.parametrize("groups", [2, 3])
def test_with_two_classes_the_differences_between_groups_are_those_of_fairlearn(groups: int) -> None:
    """Its odds difference is the mean of the two of the second class: those of the first are the same two."""
    data = drawn(5, groups=groups)
    for when, logits in (("before", data[0]), ("after", data[1])):
        answers = (data[2].numpy(), logits.argmax(1).numpy())
        odds = fairlearn.metrics.equalized_odds_difference(*answers, sensitive_features=data[3].numpy(), agg="mean")
        assert values(AverageAbsoluteOddsDifference(), data)[when] == pytest.approx(odds)
        for metric, theirs in (
            (EqualOpportunityDifference, fairlearn.metrics.equal_opportunity_difference),
            (DemographicParityDifference, fairlearn.metrics.demographic_parity_difference),
        ):
            expected = theirs(*answers, sensitive_features=data[3].numpy())
            assert values(metric(), data)[when] == pytest.approx(expected)


def test_a_group_without_inputs_is_not_compared() -> None:
    before, after, target, groups = drawn(6)
    for metric in (AverageAbsoluteOddsDifference, WorstGroupAccuracy):
        assert values(metric(), (before, after, target, 3 * groups)) == values(
            metric(), (before, after, target, groups)
        )


def _largest(rates: list[float]) -> float:
    return max(abs(one - other) for one, other in itertools.combinations(rates, 2))
