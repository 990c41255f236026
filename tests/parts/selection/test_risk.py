from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from study.errors import UsageError
from study.parts.selection.risk import Misclassification, Risk, frequent_errors

LABELS = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2])
PREDICTED = torch.tensor([0, 1, 1, 2, 1, 0, 1, 0, 1])
RISK = Risk(targets=((0, 1), (2, 0)), classes=(1,), w_prec=(2.0, 1.0, 1.0, 4.0), w_risk=(3.0, 1.0, 1.0))


def score_by_hand(labels: Tensor, predicted: Tensor) -> float:
    """Of RISK, as the toolkit writes it."""
    w_prec, w_risk = [0.25, 0.125, 0.125, 0.5], {(0, 1): 0.6, (2, 0): 0.2, 1: 0.2}
    pairs = list(zip(labels.tolist(), predicted.tolist(), strict=True))
    n = [sum(t == c for t, _ in pairs) for c in range(4)]
    err = [sum(t == c and p != c for t, p in pairs) for c in range(4)]
    score = sum(w_prec[c] * (1 - err[c] / n[c]) for c in range(4) if n[c])
    score -= 0.5 * w_risk[1] * err[1] / n[1]
    return score - 0.5 * sum(w_risk[t, p] * pairs.count((t, p)) / n[t] for t, p in ((0, 1), (2, 0)))


def test_costs_give_the_score_of_the_formula() -> None:
    costs = RISK.costs(LABELS, 4)
    assert not costs.diagonal().any()
    found = RISK.perfect(LABELS, 4) - costs[LABELS, PREDICTED].sum()
    assert float(found) == pytest.approx(score_by_hand(LABELS, PREDICTED))
    confusion = torch.zeros(4, 4, dtype=torch.float64)
    for label, predicted in zip(LABELS, PREDICTED, strict=True):
        confusion[label, predicted] += 1
    assert float((confusion * costs).sum()) == pytest.approx(float(costs[LABELS, PREDICTED].sum()))
    assert float(RISK.perfect(LABELS, 4)) == pytest.approx(score_by_hand(LABELS, LABELS)) == pytest.approx(0.5)


def test_scaling_the_weights_changes_nothing() -> None:
    scaled = Risk(targets=RISK.targets, classes=RISK.classes, w_prec=(20.0, 10.0, 10.0, 40.0), w_risk=(0.3, 0.1, 0.1))
    torch.testing.assert_close(scaled.costs(LABELS, 4), RISK.costs(LABELS, 4))


def test_the_failing_inputs_of_each_misclassification() -> None:
    failing = (LABELS != PREDICTED).nonzero().flatten()
    found = Risk(targets=((0, 1), (1, 2)), classes=(2, 0)).among(LABELS, PREDICTED, failing)
    assert {str(kind): inputs.tolist() for kind, inputs in found.items()} == {
        "0 as 1": [1, 2],
        "2": [7, 8],
        "0": [1, 2, 3],
    }
    assert Misclassification(1, 2) not in found


def test_the_rule_takes_the_most_frequent_pairs_and_the_least_accurate_classes() -> None:
    risk = frequent_errors(LABELS, PREDICTED, 4, 2, 2)
    assert risk.targets == ((0, 1), (0, 2))  # the most frequent, then the first of those that occur once
    assert risk.classes == (2, 0)
    assert risk.w_risk == (2.0, 1.0, 2.0, 3.0) and risk.w_prec is None
    assert frequent_errors(LABELS, PREDICTED, 4, 99, 99).classes == (2, 0, 1)  # none that never fails or never occurs
    assert frequent_errors(LABELS, LABELS, 4, 5, 3) == Risk()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": [[1, 1]]}, "two classes"),
        ({"targets": [[0, 1], [0, 1]]}, "twice"),
        ({"classes": [1], "w_risk": [1.0, 2.0]}, "1 weights"),
        ({"classes": [1], "w_risk": [0.0]}, "above 0"),
        ({"w_prec": [0.0, 0.0]}, "above 0"),
    ],
)
def test_what_does_not_fit_together_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Risk(**settings)  # type: ignore[arg-type]


def test_negative_weights_are_refused_and_a_misfit_is_told() -> None:
    with pytest.raises(ValidationError):
        Risk(classes=(1,), w_risk=(-1.0,))
    assert RISK.misfit(4) is None
    assert "4 weights" in str(RISK.misfit(5))
    assert "class 2" in str(Risk(targets=((0, 2),)).misfit(2))
