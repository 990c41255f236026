"""Backward compatibility: what of the faulty model's answers still holds. Negative flips have a file of their own."""

from typing import ClassVar

from torch import Tensor

from study.errors import NotApplicable
from study.metrics.base import Comparison
from study.metrics.description import Unit
from study.metrics.transitions import TransitionMetric, Transitions


class PositiveFlipRate(TransitionMetric):
    """Share of all inputs that were wrong before and are right after.

    Accuracy changes by this less the negative flip rate.
    """

    name: ClassVar[str] = "positive_flip_rate"
    label: ClassVar[str] = "positive flips"
    unit: ClassVar[Unit] = "rate"
    higher_is_better: bool = True
    meaning: ClassVar[str] = "share of all test inputs that were wrong before and are right afterwards"
    summary: ClassVar[bool] = False

    def of(self, kinds: Transitions) -> dict[str, Tensor]:
        """The rate, "after" alone."""
        return {"after": kinds.repaired / kinds.total}


class BackwardTrustCompatibility(TransitionMetric):
    """Of the inputs that were right before, the share that stays right.

    Source: Srivastava et al., "An Empirical Analysis of Backward Compatibility in Machine Learning Systems", KDD 2020.
    """

    name: ClassVar[str] = "backward_trust_compatibility"
    label: ClassVar[str] = "backward trust"
    unit: ClassVar[Unit] = "rate"
    higher_is_better: bool = True
    meaning: ClassVar[str] = "backward trust compatibility: of the test inputs right before, the share that stays right"
    summary: ClassVar[bool] = False
    undefined: ClassVar[str] = "the faulty model is right on no test input"

    def of(self, kinds: Transitions) -> dict[str, Tensor]:
        """The share, "after" alone."""
        return {"after": kinds.right / (kinds.right + kinds.broken)}


class BackwardErrorCompatibility(TransitionMetric):
    """Of the repaired model's errors, the share that the faulty model made too.

    Source: as of `BackwardTrustCompatibility`.
    """

    name: ClassVar[str] = "backward_error_compatibility"
    label: ClassVar[str] = "backward errors"
    unit: ClassVar[Unit] = "rate"
    higher_is_better: bool = True
    meaning: ClassVar[str] = "backward error compatibility: of the errors afterwards, the share that were errors before"
    summary: ClassVar[bool] = False
    undefined: ClassVar[str] = "the repaired model errs on no test input"

    def of(self, kinds: Transitions) -> dict[str, Tensor]:
        """The share, "after" alone."""
        return {"after": kinds.wrong / (kinds.wrong + kinds.broken)}


class Churn(Comparison):
    """Share of inputs whose predicted class changes, for better, for worse or from one error to another.

    Source: Milani Fard et al., "Launch and Iterate: Reducing Prediction Churn", NeurIPS 2016.
    """

    name: ClassVar[str] = "churn"
    unit: ClassVar[Unit] = "rate"
    meaning: ClassVar[str] = "share of test inputs whose predicted class changed; repairs are among them"
    summary: ClassVar[bool] = False

    changed: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_count("changed")
        self.add_count("total")

    def update(self, before: Tensor, after: Tensor, target: Tensor, groups: Tensor | None = None) -> None:
        """See `Comparison.update`."""
        self.changed += (before.argmax(dim=1) != after.argmax(dim=1)).sum()
        self.total += len(target)

    def compute(self) -> dict[str, Tensor]:
        """The share, "after" alone."""
        if self.total == 0:
            raise NotApplicable("there are no test inputs")
        return {"after": self.changed.double() / self.total}
