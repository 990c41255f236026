"""Repair rate: how many of the faulty model's errors the repaired model gets right."""

from typing import ClassVar

from torch import Tensor

from study.errors import NotApplicable
from study.metrics.base import Comparison, is_right
from study.metrics.description import Role, Unit


def repair_rate(before: Tensor, after: Tensor, target: Tensor) -> Tensor:
    """Of the inputs wrong before, the share right after.

    Args:
        before: [N, C] logits of the faulty model.
        after: [N, C] logits of the repaired model.
        target: [N] long.

    Returns:
        Scalar in [0, 1]; NaN if nothing was wrong before.

    >>> import torch
    >>> zero, one = [1.0, 0.0], [0.0, 1.0]
    >>> repair_rate(torch.tensor([zero, zero, one]), torch.tensor([one, zero, zero]), torch.tensor([1, 1, 1]))
    tensor(0.5000, dtype=torch.float64)
    """
    wrong_before = ~is_right(before, target)
    return is_right(after, target)[wrong_before].double().mean()


class RepairRate(Comparison):
    """Share of the faulty model's errors that are repaired; it is not defined for a model without errors."""

    name: ClassVar[str] = "repair_rate"
    unit: ClassVar[Unit] = "rate"
    higher_is_better: bool = True
    meaning: ClassVar[str] = "of the test inputs that the faulty model gets wrong, the share that is right afterwards"
    role: ClassVar[Role] = "repaired"

    repaired: Tensor
    wrong_before: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_count("repaired")
        self.add_count("wrong_before")

    def update(self, before: Tensor, after: Tensor, target: Tensor, groups: Tensor | None = None) -> None:
        """See `Comparison.update`."""
        wrong_before = ~is_right(before, target)
        self.repaired += (wrong_before & is_right(after, target)).sum()
        self.wrong_before += wrong_before.sum()

    def compute(self) -> dict[str, Tensor]:
        """The repair rate, "after" alone."""
        if self.wrong_before == 0:
            raise NotApplicable("the faulty model errs on no test input")
        return {"after": self.repaired.double() / self.wrong_before}
