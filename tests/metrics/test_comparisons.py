"""The metrics that read logits, on examples small enough to count by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from study.errors import NotApplicable
from study.metrics.accuracy import Accuracy, accuracy
from study.metrics.base import Comparison
from study.metrics.calibration import BrierScore, ExpectedCalibrationError
from study.metrics.compatibility import (
    BackwardErrorCompatibility,
    BackwardTrustCompatibility,
    Churn,
    PositiveFlipRate,
)
from study.metrics.fairness import (
    AverageAbsoluteOddsDifference,
    DemographicParityDifference,
    EqualOpportunityDifference,
    WorstGroupAccuracy,
    average_absolute_odds_difference,
)
from study.metrics.mcnemar import BrokenInputs, McNemar, RepairedInputs
from study.metrics.negative_flips import ConfidentNegativeFlipRate, NegativeFlipRate, negative_flips
from study.metrics.repair_rate import RepairRate, repair_rate

# Five inputs of class 0 and five of class 1. Wrong before: 1, 2, 6, 7 (four). Wrong after: 2, 3, 8 (three).
# Repaired: 1, 6, 7 (three of four). Broken: 3, 8 (two of ten).
TARGET = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
BEFORE = torch.tensor([0, 1, 1, 0, 0, 1, 0, 0, 1, 1])
AFTER = torch.tensor([0, 0, 1, 1, 0, 1, 1, 1, 0, 1])
GROUPS = torch.tensor([0, 0, 0, 1, 1, 0, 0, 1, 1, 1])

FAIRNESS = [
    AverageAbsoluteOddsDifference,
    EqualOpportunityDifference,
    DemographicParityDifference,
    WorstGroupAccuracy,
]
ALL = [
    Accuracy,
    RepairRate,
    NegativeFlipRate,
    ConfidentNegativeFlipRate,
    McNemar,
    RepairedInputs,
    BrokenInputs,
    PositiveFlipRate,
    BackwardTrustCompatibility,
    BackwardErrorCompatibility,
    Churn,
    ExpectedCalibrationError,
    BrierScore,
    *FAIRNESS,
]


def logits_of(predicted: Tensor, classes: int = 2) -> Tensor:
    return one_hot(predicted, classes).float()


def measured(metric: Comparison, before: Tensor, after: Tensor, target: Tensor, groups: Tensor | None = None) -> dict:
    metric.update(before, after, target, groups)
    return {when: value.item() for when, value in metric.compute().items()}


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (Accuracy, {"before": 0.6, "after": 0.7}),
        (RepairRate, {"after": 0.75}),
        (NegativeFlipRate, {"after": 0.2}),
        # Before: group 0 has TPR (1/3, 1/2), group 1 (1, 2/3); FPR is (1/2, 2/3) and (1/3, 0).
        # Differences: TPR (2/3, 1/6), mean 5/12; FPR (1/6, 2/3), mean 5/12. AAOD is 5/12.
        # After: TPR (2/3, 1) and (1/2, 2/3), differences (1/6, 1/3); FPR (0, 1/3) and (1/3, 1/2), differences
        # (1/3, 1/6). AAOD is 1/4.
        (AverageAbsoluteOddsDifference, {"before": 5 / 12, "after": 1 / 4}),
        # True-positive rates of class 1: 1/2 and 2/3 before, 1 and 2/3 after.
        (EqualOpportunityDifference, {"before": 1 / 6, "after": 1 / 3}),
        # Answers of class 1: of group 0 items 0, 1, 2, 5, 6 three before, three after; of group 1 two and three.
        (DemographicParityDifference, {"before": 1 / 5, "after": 0.0}),
        # Right: of group 0 two of five before, four after; of group 1 four before, three after.
        (WorstGroupAccuracy, {"before": 2 / 5, "after": 3 / 5}),
        (PositiveFlipRate, {"after": 0.3}),
        (BackwardTrustCompatibility, {"after": 4 / 6}),
        (BackwardErrorCompatibility, {"after": 1 / 3}),
        (Churn, {"after": 0.5}),
        (RepairedInputs, {"after": 3}),
        (BrokenInputs, {"after": 2}),
        (McNemar, {"after": 1.0}),
    ],
)
def test_counted_by_hand(metric: Callable[[], Comparison], expected: dict[str, float]) -> None:
    values = measured(metric(), logits_of(BEFORE), logits_of(AFTER), TARGET, GROUPS)
    assert values == pytest.approx(expected)


def test_functions_agree_with_the_hand_count() -> None:
    before, after = logits_of(BEFORE), logits_of(AFTER)
    assert accuracy(after, TARGET).item() == pytest.approx(0.7)
    assert repair_rate(before, after, TARGET).item() == pytest.approx(0.75)
    assert negative_flips(before, after, TARGET).nonzero().flatten().tolist() == [3, 8]


def test_rates_with_an_empty_denominator_are_zero() -> None:
    # Class 2 never occurs, and group 1 holds class 0 alone: its TPR of classes 1 and 2 and FPR of class 0 are 0.
    target, groups = torch.tensor([0, 1, 0]), torch.tensor([0, 0, 1])
    perfect = average_absolute_odds_difference(target, target, groups, classes=3)
    # TPR: group 0 (1, 1, 0), group 1 (1, 0, 0); FPR all 0: half of the mean of (0, 1, 0).
    assert perfect.item() == pytest.approx(1 / 6)


def test_repair_rate_does_not_apply_without_errors() -> None:
    with pytest.raises(NotApplicable, match="errs on no test input"):
        measured(RepairRate(), logits_of(TARGET), logits_of(AFTER), TARGET)


@pytest.mark.parametrize("metric", FAIRNESS)
def test_fairness_does_not_apply_without_groups(metric: Callable[[], Comparison]) -> None:
    with pytest.raises(NotApplicable, match="no sensitive groups"):
        measured(metric(), logits_of(BEFORE), logits_of(AFTER), TARGET)
    with pytest.raises(NotApplicable, match="of one group"):
        measured(metric(), logits_of(BEFORE), logits_of(AFTER), TARGET, torch.ones_like(GROUPS))


@pytest.mark.parametrize("metric", [EqualOpportunityDifference, DemographicParityDifference])
def test_a_favourable_class_takes_two(metric: Callable[[], Comparison]) -> None:
    with pytest.raises(NotApplicable, match="two classes, and there are 3"):
        measured(metric(), logits_of(BEFORE, 3), logits_of(AFTER, 3), TARGET, GROUPS)


def test_shares_of_nothing_do_not_apply() -> None:
    wrong = 1 - TARGET
    with pytest.raises(NotApplicable, match="right on no test input"):
        measured(BackwardTrustCompatibility(), logits_of(wrong), logits_of(AFTER), TARGET)
    with pytest.raises(NotApplicable, match="the repaired model errs on no"):
        measured(BackwardErrorCompatibility(), logits_of(BEFORE), logits_of(TARGET), TARGET)
    with pytest.raises(NotApplicable, match="not sure of any test input"):
        measured(ConfidentNegativeFlipRate(), logits_of(BEFORE), logits_of(AFTER), TARGET)


def test_only_confident_inputs_count() -> None:
    sure = torch.ones(10)
    sure[[3, 4, 5]] = 9.0  # a probability of 0.9999; of the others it is 0.73
    before = logits_of(BEFORE) * sure[:, None]
    assert measured(ConfidentNegativeFlipRate(), before, logits_of(AFTER), TARGET) == pytest.approx({"after": 1 / 3})
    every = measured(ConfidentNegativeFlipRate(confidence=0.7), before, logits_of(AFTER), TARGET)
    assert every == pytest.approx({"after": 0.2})
    with pytest.raises(ValueError, match="confidence is 90"):
        ConfidentNegativeFlipRate(confidence=90)


@pytest.mark.parametrize("metric", [metric for metric in ALL if metric not in FAIRNESS])
def test_a_share_of_no_inputs_does_not_apply(metric: Callable[[], Comparison]) -> None:
    none = torch.zeros(0, dtype=torch.long)
    with pytest.raises(NotApplicable, match="no test input|not sure of any test input"):
        measured(metric(), torch.zeros(0, 2), torch.zeros(0, 2), none)


@pytest.mark.parametrize("metric", ALL)
def test_batches_count_as_one(metric: Callable[[], Comparison]) -> None:
    generator = torch.Generator().manual_seed(0)
    before, after = (3 * torch.randn(100, 2, generator=generator) for _ in range(2))
    target = torch.randint(2, (100,), generator=generator)
    groups = torch.randint(2, (100,), generator=generator)
    whole = measured(metric(), before, after, target, groups)
    batched = metric()
    for batch in torch.arange(100).split(33):
        batched.update(before[batch], after[batch], target[batch], groups[batch])
    values = {when: value.item() for when, value in batched.compute().items()}
    assert whole and values == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("metric", ALL)
def test_reset_forgets(metric: Callable[[], Comparison]) -> None:
    instance = metric()
    before, after = 5 * logits_of(BEFORE), 5 * logits_of(AFTER)
    measured(instance, after, before, TARGET, 1 - GROUPS)
    instance.reset()
    values = measured(instance, before, after, TARGET, GROUPS)
    assert values == measured(metric(), before, after, TARGET, GROUPS)


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_is_what_repairs_and_flips_make_of_it(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    before, after = (torch.randn(200, 5, generator=generator) for _ in range(2))
    target = torch.randint(5, (200,), generator=generator)
    acc = measured(Accuracy(), before, after, target)
    rate = measured(RepairRate(), before, after, target)["after"]
    flips = measured(NegativeFlipRate(), before, after, target)["after"]
    assert acc["after"] - acc["before"] == pytest.approx(rate * (1 - acc["before"]) - flips)
