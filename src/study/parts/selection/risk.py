"""The risk of misclassifications: which matter, how much, and what the errors of a model then cost.

After DistrRep (Li Calsi et al., ICST 2023), read off jst-qaml/eAI-Repair-Toolkit. The risk score of a model is
sum_c w_prec[c] (1 - err_c / n_c) - 0.5 sum_c w_risk[c] err_c / n_c - 0.5 sum_(t,p) w_risk[t,p] err_tp / n_t, with n_c
the inputs of class c, err_c the wrong ones of these, err_tp the inputs of class t predicted p. So each error costs what
its label and the predicted class say, whatever the others are: `Risk.costs`.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from study.errors import UsageError
from study.runtime.settings import settings

Class = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0)]


class Misclassification(NamedTuple):
    """Inputs of class `label` predicted as `predicted`, or, where that is None, as any wrong class."""

    label: int
    predicted: int | None

    def __str__(self) -> str:
        return f"{self.label}" if self.predicted is None else f"{self.label} as {self.predicted}"


@settings
class Risk:
    """What a user knows about the misclassifications of a task.

    targets: pairs (label, predicted class) to repair; classes: to repair as a whole; w_prec: how much the accuracy of
    each class matters, one weight per class of the task (None: all alike); w_risk: of each target, then of each of
    `classes` (None: all alike). Both are scaled to sum 1.
    """

    targets: tuple[tuple[Class, Class], ...] = ()
    classes: tuple[Class, ...] = ()
    w_prec: tuple[Weight, ...] | None = None
    w_risk: tuple[Weight, ...] | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for what does not fit together."""
        if any(label == predicted for label, predicted in self.targets):
            raise UsageError("method.risk.targets: a pair is a class and the wrong class predicted for it, two classes")
        if len(set(self.misclassifications)) < len(self.misclassifications):
            raise UsageError("method.risk: names a pair or a class twice")
        if self.w_risk is not None and len(self.w_risk) != len(self.misclassifications):
            raise UsageError(
                f"method.risk.w_risk: {len(self.misclassifications)} weights are needed, one for each of targets and "
                f"then of classes, not {len(self.w_risk)}"
            )
        for name, weights in (("w_prec", self.w_prec), ("w_risk", self.w_risk)):
            if weights is not None and not sum(weights):
                raise UsageError(f"method.risk.{name}: some weight must be above 0")

    @property
    def misclassifications(self) -> list[Misclassification]:
        """Every target, then every class."""
        return [Misclassification(*pair) for pair in self.targets] + [Misclassification(c, None) for c in self.classes]

    def among(self, labels: Tensor, predicted: Tensor, failing: Tensor) -> dict[Misclassification, Tensor]:
        """The inputs at `failing` of each misclassification that has some, [M] int64 each.

        labels, predicted: [N], of the whole split.
        """
        found = {
            kind: failing[
                (labels[failing] == kind.label)
                & ((predicted[failing] == kind.predicted) if kind.predicted is not None else True)
            ]
            for kind in self.misclassifications
        }
        return {kind: inputs for kind, inputs in found.items() if len(inputs)}

    def misfit(self, num_classes: int) -> str | None:
        """What does not fit a task of so many classes, None if all does."""
        named = max([-1, *self.classes, *(number for pair in self.targets for number in pair)])
        if named >= num_classes:
            return f"names class {named}, and the task has {num_classes} classes, counted from 0"
        if self.w_prec is not None and len(self.w_prec) != num_classes:
            return f"has {len(self.w_prec)} weights w_prec, and the task has {num_classes} classes"
        return None

    def costs(self, labels: Tensor, num_classes: int) -> Tensor:
        """What one error costs, [C, C] float64 by label and predicted class, 0 on the diagonal.

        labels: [N], of all inputs that are scored, which give n_c; the terms of a class without inputs are left out.
        """
        sizes = labels.bincount(minlength=num_classes).double()
        importance = _scaled(self.w_prec, num_classes, sizes)
        costs = importance[:, None].repeat(1, num_classes)
        risks = _scaled(self.w_risk, len(self.misclassifications), sizes)
        for (label, predicted), risk in zip(self.misclassifications, risks, strict=True):
            costs[label, slice(None) if predicted is None else predicted] += 0.5 * risk
        return (costs / sizes.clamp(min=1)[:, None]).fill_diagonal_(0.0)

    def perfect(self, labels: Tensor, num_classes: int) -> Tensor:
        """The score of a model without errors on inputs with these labels [N]: its least upper bound, float64."""
        sizes = labels.bincount(minlength=num_classes).double()
        return _scaled(self.w_prec, num_classes, sizes)[sizes > 0].sum()


def _scaled(weights: tuple[float, ...] | None, count: int, like: Tensor) -> Tensor:
    """Weights with sum 1, [count]; None: all alike."""
    values = like.new_ones(count) if weights is None else like.new_tensor(weights)
    return values / values.sum()


def frequent_errors(labels: Tensor, predicted: Tensor, num_classes: int, pairs: int, classes: int) -> Risk:
    """The rule `auto` (ours): the most frequent errors are the riskiest, in proportion, and all classes matter alike.

    labels, predicted: [N], of the inputs it looks at; pairs: so many of the most frequent pairs (label, predicted);
    classes: so many of the least accurate classes. Of equals the first; only such that occur.
    """
    wrong = predicted != labels
    confused = (labels * num_classes + predicted)[wrong].bincount(minlength=num_classes**2)
    errors = labels[wrong].bincount(minlength=num_classes)
    rates = errors.double() / labels.bincount(minlength=num_classes).clamp(min=1)
    worst_pairs, worst_classes = _largest(confused, pairs), _largest(rates, classes)
    return Risk(
        targets=tuple(divmod(pair, num_classes) for pair in worst_pairs.tolist()),
        classes=tuple(worst_classes.tolist()),
        w_risk=tuple(torch.cat([confused[worst_pairs], errors[worst_classes]]).tolist()) or None,
    )


def _largest(values: Tensor, count: int) -> Tensor:
    """Places of the `count` largest values above 0, largest first; of equals the first."""
    order = values.argsort(descending=True, stable=True)[:count]
    return order[values[order] > 0]
