"""Fairness between two sensitive groups."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics.utilities import dim_zero_cat

from study.errors import NotApplicable
from study.metrics.base import Comparison
from study.metrics.description import Unit


def one_vs_rest_rates(predicted: Tensor, target: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """True-positive and false-positive rate of each class against the rest; 0 where the denominator is empty.

    Args:
        predicted: [N] long, predicted classes.
        target: [N] long, labels.
        classes: number of classes C.

    Returns:
        Two tensors [C] in [0, 1].

    >>> one_vs_rest_rates(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2)
    (tensor([1.0000, 0.5000], dtype=torch.float64), tensor([0.5000, 0.0000], dtype=torch.float64))
    """
    predictions, labels = one_hot(predicted, classes), one_hot(target, classes)
    positives, negatives = labels.sum(0), (1 - labels).sum(0)
    true_positives, false_positives = (predictions * labels).sum(0), (predictions * (1 - labels)).sum(0)
    return true_positives.double() / positives.clamp(min=1), false_positives.double() / negatives.clamp(min=1)


def average_absolute_odds_difference(predicted: Tensor, target: Tensor, groups: Tensor, classes: int) -> Tensor:
    """0.5 * (mean over classes of |TPR_0 - TPR_1| + mean over classes of |FPR_0 - FPR_1|), rates one-vs-rest.

    Args:
        predicted: [N] long, predicted classes.
        target: [N] long, labels.
        groups: [N] long, 0 or 1.
        classes: number of classes C.

    Returns:
        Scalar in [0, 1]; 0 is fair.

    >>> predicted, target, groups = torch.tensor([0, 1, 0, 0]), torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])
    >>> average_absolute_odds_difference(predicted, target, groups, classes=2)
    tensor(0.5000, dtype=torch.float64)
    """
    first, second = groups == 0, groups == 1
    tpr_first, fpr_first = one_vs_rest_rates(predicted[first], target[first], classes)
    tpr_second, fpr_second = one_vs_rest_rates(predicted[second], target[second], classes)
    return 0.5 * ((tpr_first - tpr_second).abs().mean() + (fpr_first - fpr_second).abs().mean())


class AverageAbsoluteOddsDifference(Comparison):
    """AAOD of either model; it is not defined for data without sensitive groups."""

    name: ClassVar[str] = "aaod"
    label: ClassVar[str] = "AAOD"
    unit: ClassVar[Unit] = "rate"
    higher_is_better: bool = False
    meaning: ClassVar[str] = "average absolute odds difference between the two sensitive groups"

    predicted_before: list[Tensor]
    predicted_after: list[Tensor]
    target: list[Tensor]
    groups: list[Tensor]
    classes: Tensor

    def __init__(self) -> None:
        super().__init__()
        # The number of classes, and with it the size of a table of counts, is known with the first batch only.
        for state in ("predicted_before", "predicted_after", "target", "groups"):
            self.add_state(state, default=[], dist_reduce_fx="cat")
        self.add_state("classes", default=torch.tensor(0), dist_reduce_fx="max")

    def update(self, before: Tensor, after: Tensor, target: Tensor, groups: Tensor | None = None) -> None:
        """See `Comparison.update`."""
        if groups is None:
            raise NotApplicable("the data set has no sensitive groups")
        self.predicted_before.append(before.argmax(dim=1))
        self.predicted_after.append(after.argmax(dim=1))
        self.target.append(target)
        self.groups.append(groups)
        self.classes.fill_(before.shape[1])

    def compute(self) -> dict[str, Tensor]:
        """The AAOD "before" and "after"."""
        if self.classes == 0:
            raise NotApplicable("there are no test inputs")
        target, groups, classes = dim_zero_cat(self.target), dim_zero_cat(self.groups), int(self.classes)
        predictions = {"before": self.predicted_before, "after": self.predicted_after}
        return {
            when: average_absolute_odds_difference(dim_zero_cat(predicted), target, groups, classes)
            for when, predicted in predictions.items()
        }
