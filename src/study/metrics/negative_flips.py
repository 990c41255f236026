"""Negative flips: inputs that the repair broke."""

from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from study.errors import NotApplicable
from study.metrics.base import is_right
from study.metrics.description import Description, Role, Unit
from study.metrics.transitions import TransitionMetric, Transitions


def negative_flips(before: Tensor, after: Tensor, target: Tensor) -> Tensor:
    """Which inputs were right before and are wrong after.

    Args:
        before: [N, C] logits of the faulty model.
        after: [N, C] logits of the repaired model.
        target: [N] long.

    Returns:
        [N] bool.

    >>> import torch
    >>> zero, one = [1.0, 0.0], [0.0, 1.0]
    >>> negative_flips(torch.tensor([one, zero, one]), torch.tensor([zero, one, one]), torch.tensor([1, 1, 1]))
    tensor([ True, False, False])
    """
    return is_right(before, target) & ~is_right(after, target)


class NegativeFlipRate(TransitionMetric):
    """Share of all inputs that were right before and are wrong after; it is not defined where there are no inputs.

    Source: Yan et al., "Positive-Congruent Training", CVPR 2021, equation 1.
    """

    name: ClassVar[str] = "negative_flip_rate"
    label: ClassVar[str] = "negative flips"
    unit: ClassVar[Unit] = "rate"
    higher_is_better: bool = False
    meaning: ClassVar[str] = "share of all test inputs that were right before and are wrong afterwards"
    role: ClassVar[Role] = "broken"
    bootstrapped: ClassVar[bool] = True

    def of(self, kinds: Transitions) -> dict[str, Tensor]:
        """The rate, "after" alone."""
        return {"after": kinds.broken / kinds.total}


class ConfidentNegativeFlipRate(TransitionMetric):
    """Negative flip rate among the inputs whose answer the faulty model was sure of.

    Args:
        confidence: probability of the faulty model's answer from which an input counts.
    """

    name: ClassVar[str] = "confident_negative_flip_rate"
    label: ClassVar[str] = "confident negative flips"
    unit: ClassVar[Unit] = "rate"
    higher_is_better: bool = False
    meaning: ClassVar[str] = "of the test inputs that the faulty model is sure of, the share that is newly wrong"
    summary: ClassVar[bool] = False

    def __init__(self, *, confidence: float = 0.9) -> None:
        super().__init__()
        if not 0 <= confidence <= 1:
            raise ValueError(f"confidence is {confidence}; it is a probability, from 0 to 1")
        self.confidence = confidence

    def describe(self) -> Description:
        """See `Comparison.describe`."""
        return replace(super().describe(), protocol=f"confidence of the faulty model at least {self.confidence:g}")

    def update(self, before: Tensor, after: Tensor, target: Tensor, groups: Tensor | None = None) -> None:
        """See `Comparison.update`."""
        sure = before.softmax(dim=1).amax(dim=1) >= self.confidence
        super().update(before[sure], after[sure], target[sure])

    def counts(self) -> Tensor:
        """See `Counted.counts`."""
        if self.numbers.sum() == 0:
            raise NotApplicable(f"the faulty model is not sure of any test input ({self.confidence:g})")
        return self.numbers

    def of(self, kinds: Transitions) -> dict[str, Tensor]:
        """The rate, "after" alone."""
        return {"after": kinds.broken / kinds.total}
