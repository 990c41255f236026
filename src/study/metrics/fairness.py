"""Fairness between sensitive groups, however many there are."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from study.errors import NotApplicable
from study.metrics.counted import Counted
from study.metrics.description import Unit


class GroupTable(NamedTuple):
    """Numbers of inputs [..., G, C] by group and class: that have the label, that get the answer, that have both."""

    labelled: Tensor
    answered: Tensor
    right: Tensor

    @classmethod
    def of(cls, cells: Tensor, counts: Tensor, groups: int, classes: int) -> GroupTable:
        """From counts [..., K] of inputs in cells [K, 3], each of a group, a label and an answer."""
        group, label, answer = cells.to(counts.device).unbind(1)
        shape, exact = (*counts.shape[:-1], groups, classes), counts.double()

        def table(column: Tensor, values: Tensor) -> Tensor:
            flat = values.new_zeros(*counts.shape[:-1], groups * classes)
            return flat.index_add(-1, group * classes + column, values).reshape(shape)

        return cls(table(label, exact), table(answer, exact), table(label, exact * (label == answer)))

    @property
    def size(self) -> Tensor:
        """[..., G, 1]: inputs of each group."""
        return self.labelled.sum(-1, keepdim=True)

    @property
    def true_positive_rate(self) -> Tensor:
        """[..., G, C], of each class against the rest; 0 where the denominator is empty."""
        return self.right / self.labelled.clamp(min=1)

    @property
    def false_positive_rate(self) -> Tensor:
        """[..., G, C], likewise."""
        return (self.answered - self.right) / (self.size - self.labelled).clamp(min=1)

    @property
    def selection_rate(self) -> Tensor:
        """[..., G, C]: share of a group's inputs that get the answer."""
        return self.answered / self.size.clamp(min=1)


def largest_difference(rates: Tensor) -> Tensor:
    """Between any two groups, [..., C] of rates [..., G, C]."""
    return rates.amax(-2) - rates.amin(-2)


def odds_difference(table: GroupTable) -> Tensor:
    """0.5 * (mean over classes of the difference in TPR + mean over classes of that in FPR), [...].

    Rates are one-vs-rest; of more than two groups the two that differ most count, for each class and rate.
    """
    opportunity = largest_difference(table.true_positive_rate).mean(-1)
    return 0.5 * (opportunity + largest_difference(table.false_positive_rate).mean(-1))


def average_absolute_odds_difference(predicted: Tensor, target: Tensor, groups: Tensor, classes: int) -> Tensor:
    """See `odds_difference`.

    Args:
        predicted: [N] long, predicted classes.
        target: [N] long, labels.
        groups: [N] long, from 0.
        classes: number of classes C.

    Returns:
        Scalar in [0, 1]; 0 is fair.

    >>> predicted, target, groups = torch.tensor([0, 1, 0, 0]), torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])
    >>> average_absolute_odds_difference(predicted, target, groups, classes=2)
    tensor(0.5000, dtype=torch.float64)
    """
    cells = torch.stack([groups, target, predicted], dim=1)
    return odds_difference(GroupTable.of(cells, torch.ones_like(target), int(groups.max()) + 1, classes))


class FairnessMetric(Counted):
    """A metric that follows from the `GroupTable` of either model.

    Groups without a test input do not count; with fewer than two the metric is not defined. `two_classes`: it is
    defined for two classes alone, of which the second is the favourable one.
    """

    unit: ClassVar[Unit] = "rate"
    higher_is_better: bool = False
    two_classes: ClassVar[bool] = False

    batches: list[Tensor]
    classes: Tensor

    def __init__(self) -> None:
        super().__init__()
        # The number of classes and groups, and with it the size of a table of counts, is known at the end only.
        self.add_state("batches", default=[], dist_reduce_fx="cat")
        self.add_state("classes", default=torch.tensor(0), dist_reduce_fx="max")

    def update(self, before: Tensor, after: Tensor, target: Tensor, groups: Tensor | None = None) -> None:
        """See `Comparison.update`."""
        if groups is None:
            raise NotApplicable("the data set has no sensitive groups")
        if self.two_classes and before.shape[1] != 2:
            raise NotApplicable(f"it is defined for two classes, and there are {before.shape[1]}")
        self.batches.append(torch.stack([groups, target, before.argmax(dim=1), after.argmax(dim=1)], dim=1))
        self.classes.fill_(before.shape[1])

    def counts(self) -> Tensor:
        """See `Counted.counts`."""
        return self._cells()[1]

    def of_counts(self, counts: Tensor) -> dict[str, Tensor]:
        """The value "before" and "after". See `Counted.of_counts`."""
        cells, classes = self._cells()[0], int(self.classes)
        groups = int(cells[:, 0].max()) + 1
        tables = {"before": cells[:, [0, 1, 2]], "after": cells[:, [0, 1, 3]]}
        return {when: self.of(GroupTable.of(own, counts, groups, classes)) for when, own in tables.items()}

    @abstractmethod
    def of(self, table: GroupTable) -> Tensor:
        """The value [...] of a table."""

    def _cells(self) -> tuple[Tensor, Tensor]:
        """Cells [K, 4] (group, label, answer before, answer after) that inputs fall in, and how many [K]."""
        if self.classes == 0:
            raise NotApplicable("there are no test inputs")
        inputs = dim_zero_cat(self.batches)
        present, group = inputs[:, 0].unique(return_inverse=True)
        if len(present) < 2:
            raise NotApplicable("all test inputs are of one group")
        cells, counts = torch.column_stack([group, inputs[:, 1:]]).unique(dim=0, return_counts=True)
        return cells, counts


class AverageAbsoluteOddsDifference(FairnessMetric):
    """AAOD of either model; of more than two groups the largest difference between two, for each class and rate.

    With two classes it is fairlearn's `equalized_odds_difference` with `agg="mean"`.
    """

    name: ClassVar[str] = "aaod"
    label: ClassVar[str] = "AAOD"
    meaning: ClassVar[str] = "average absolute odds difference between sensitive groups (of several, the largest)"
    bootstrapped: ClassVar[bool] = True

    def of(self, table: GroupTable) -> Tensor:
        """See `odds_difference`."""
        return odds_difference(table)


class EqualOpportunityDifference(FairnessMetric):
    """Largest difference between two groups in the true-positive rate of the second class.

    Source: Hardt, Price, Srebro, "Equality of Opportunity in Supervised Learning", NeurIPS 2016.
    """

    name: ClassVar[str] = "equal_opportunity_difference"
    label: ClassVar[str] = "equal opportunity"
    meaning: ClassVar[str] = "largest difference between sensitive groups in the true-positive rate of the second class"
    summary: ClassVar[bool] = False
    two_classes: ClassVar[bool] = True

    def of(self, table: GroupTable) -> Tensor:
        """See `FairnessMetric.of`."""
        return largest_difference(table.true_positive_rate)[..., 1]


class DemographicParityDifference(FairnessMetric):
    """Largest difference between two groups in the share of inputs that get the second class.

    Source: Agarwal et al., "A Reductions Approach to Fair Classification", ICML 2018.
    """

    name: ClassVar[str] = "demographic_parity_difference"
    label: ClassVar[str] = "demographic parity"
    meaning: ClassVar[str] = "largest difference between sensitive groups in the share that gets the second class"
    summary: ClassVar[bool] = False
    two_classes: ClassVar[bool] = True

    def of(self, table: GroupTable) -> Tensor:
        """See `FairnessMetric.of`."""
        return largest_difference(table.selection_rate)[..., 1]


class WorstGroupAccuracy(FairnessMetric):
    """Accuracy on the group where it is lowest.

    Source: Sagawa et al., "Distributionally Robust Neural Networks for Group Shifts", ICLR 2020.
    """

    name: ClassVar[str] = "worst_group_accuracy"
    higher_is_better: bool = True
    meaning: ClassVar[str] = "accuracy on the sensitive group where it is lowest"
    summary: ClassVar[bool] = False

    def of(self, table: GroupTable) -> Tensor:
        """See `FairnessMetric.of`."""
        return (table.right.sum(-1) / table.size[..., 0].clamp(min=1)).amin(-1)
