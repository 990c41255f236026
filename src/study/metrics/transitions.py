"""Right or wrong, before and after: the four kinds of inputs that a repair leaves behind."""

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from study.metrics.base import is_right
from study.metrics.counted import Counted


class Transitions(NamedTuple):
    """Numbers of inputs [...]: wrong before and after, repaired, broken (a negative flip), right before and after."""

    wrong: Tensor
    repaired: Tensor
    broken: Tensor
    right: Tensor

    @classmethod
    def of(cls, counts: Tensor) -> "Transitions":
        """From counts [..., 4] in this order."""
        return cls(*counts.double().unbind(-1))

    @property
    def total(self) -> Tensor:
        return self.wrong + self.repaired + self.broken + self.right


def transitions(before: Tensor, after: Tensor, target: Tensor) -> Tensor:
    """How many inputs made each transition.

    Args:
        before: [N, C] logits of the faulty model.
        after: [N, C] logits of the repaired model.
        target: [N] long.

    Returns:
        [4] long, in the order of `Transitions`.

    >>> zero, one = [1.0, 0.0], [0.0, 1.0]
    >>> transitions(torch.tensor([zero, one, one]), torch.tensor([one, zero, one]), torch.tensor([1, 1, 1]))
    tensor([0, 1, 1, 1])
    """
    return torch.bincount(2 * is_right(before, target).long() + is_right(after, target), minlength=4)


class TransitionMetric(Counted):
    """A metric that follows from the four numbers."""

    numbers: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("numbers", default=torch.zeros(4, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, before: Tensor, after: Tensor, target: Tensor, groups: Tensor | None = None) -> None:
        """See `Comparison.update`."""
        self.numbers += transitions(before, after, target)

    def counts(self) -> Tensor:
        """See `Counted.counts`."""
        return self.numbers

    def of_counts(self, counts: Tensor) -> dict[str, Tensor]:
        """See `Counted.of_counts`."""
        return self.of(Transitions.of(counts))

    @abstractmethod
    def of(self, kinds: Transitions) -> dict[str, Tensor]:
        """The values [...] "before" and "after"; NaN where they are not defined."""
