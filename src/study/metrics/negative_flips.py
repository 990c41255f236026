"""Negative flips: inputs that the repair broke."""

from typing import ClassVar

from torch import Tensor

from study.errors import NotApplicable
from study.metrics.base import Comparison, is_right
from study.metrics.description import Role, Unit


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


class NegativeFlipRate(Comparison):
    """Share of all inputs that were right before and are wrong after; it is not defined where there are no inputs.

    Source: Yan et al., "Positive-Congruent Training", CVPR 2021, equation 1.
    """

    name: ClassVar[str] = "negative_flip_rate"
    label: ClassVar[str] = "negative flips"
    unit: ClassVar[Unit] = "rate"
    higher_is_better: bool = False
    meaning: ClassVar[str] = "share of all test inputs that were right before and are wrong afterwards"
    role: ClassVar[Role] = "broken"

    flips: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_count("flips")
        self.add_count("total")

    def update(self, before: Tensor, after: Tensor, target: Tensor, groups: Tensor | None = None) -> None:
        """See `Comparison.update`."""
        self.flips += negative_flips(before, after, target).sum()
        self.total += len(target)

    def compute(self) -> dict[str, Tensor]:
        """The rate, "after" alone."""
        if self.total == 0:
            raise NotApplicable("there are no test inputs")
        return {"after": self.flips.double() / self.total}
