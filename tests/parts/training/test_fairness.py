"""The equalised-odds penalty and the balancing weights."""

import pytest
import torch
from torch.nn.functional import one_hot

from study.metrics.fairness import average_absolute_odds_difference
from study.parts.training.fairness import balancing_weights, equalised_odds
from study.runtime.randomness import stream


def test_is_the_metric_on_certain_predictions() -> None:
    generator = stream(0, "fairness")
    labels, groups = torch.arange(400) % 4, (torch.arange(400) // 4) % 2
    predicted = torch.where(
        torch.rand(400, generator=generator) < 0.7, labels, torch.randint(4, (400,), generator=generator)
    )
    predicted[(groups == 1) & (labels == 2)] = 1
    metric = average_absolute_odds_difference(predicted, labels, groups, classes=4)
    assert metric > 0.1
    assert equalised_odds(one_hot(predicted, 4).double(), labels, groups) == pytest.approx(metric.item(), abs=1e-3)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_group_counts(count: int) -> None:
    labels, groups = torch.arange(480) % 3, (torch.arange(480) // 3) % count
    predicted = torch.where((groups == count - 1) & (labels == 2), 1, labels)  # the last group alone is treated badly
    metric = average_absolute_odds_difference(predicted, labels, groups, classes=3)
    assert metric > 0.1
    odds = equalised_odds(one_hot(predicted, 3).double(), labels, groups, count)
    assert odds == pytest.approx(metric.item(), abs=1e-3)


def test_by_hand() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]], dtype=torch.float64)
    labels, groups = torch.tensor([0, 1, 0]), torch.tensor([0, 0, 1])
    # Class 0 alone has items in both groups: TPR 0.9 and 0.5. FPR of class 0: 0.4 and none; of class 1: 0.1 and 0.5.
    expected = 0.5 * (0.4 + (0.4 + 0.4) / 2)
    assert equalised_odds(probabilities, labels, groups) == pytest.approx(expected, abs=1e-4)


def test_a_batch_of_one_group_gives_finite_gradients() -> None:
    logits = torch.zeros(4, 3, requires_grad=True)
    equalised_odds(logits.softmax(1), torch.tensor([0, 1, 2, 0]), torch.zeros(4, dtype=torch.long)).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_descent_makes_the_rates_equal() -> None:
    logits = torch.randn(60, 3, generator=stream(0, "logits")).requires_grad_()
    labels, groups = torch.arange(60) % 3, (torch.arange(60) // 3) % 2
    optimizer = torch.optim.Adam([logits], 0.05)
    first = equalised_odds(logits.softmax(1), labels, groups).item()
    for _ in range(100):
        optimizer.zero_grad()
        equalised_odds(logits.softmax(1), labels, groups).backward()
        optimizer.step()
    assert equalised_odds(logits.softmax(1), labels, groups).item() < 0.1 * first


def test_every_group_of_a_class_is_drawn_alike_and_each_class_as_often_as_before() -> None:
    labels, groups = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1]), torch.tensor([0, 0, 1, 0, 1, 1, 1, 1])
    full = balancing_weights(labels, groups, 1.0)
    assert full.tolist() == pytest.approx([0.75, 0.75, 1.5, 2.5, 0.625, 0.625, 0.625, 0.625])
    half = balancing_weights(labels, groups, 0.5)
    assert half[labels == 0].sum() == pytest.approx(3) and half[labels == 1].sum() == pytest.approx(5)
    assert half[3] / half[4] == pytest.approx(2)
    assert balancing_weights(labels, groups, 0.0).tolist() == pytest.approx([1.0] * 8)


def test_a_class_without_items_and_a_group_missing_from_one_are_no_trouble() -> None:
    labels, groups = torch.tensor([0, 0, 2, 2]), torch.tensor([1, 1, 0, 1])
    assert balancing_weights(labels, groups, 1.0).tolist() == pytest.approx([1.0] * 4)


def test_without_groups_the_classes_are_balanced() -> None:
    assert balancing_weights(torch.tensor([0, 0, 0, 1]), None, 1.0).tolist() == pytest.approx([1 / 3] * 3 + [1])
