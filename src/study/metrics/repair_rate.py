"""Repair rate: how many of the faulty model's errors the repaired model gets right."""

from typing import ClassVar

from torch import Tensor

from study.metrics.base import is_right
from study.metrics.description import Role, Unit
from study.metrics.transitions import TransitionMetric, Transitions


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


class RepairRate(TransitionMetric):
    """Share of the faulty model's errors that are repaired; it is not defined for a model without errors."""

    name: ClassVar[str] = "repair_rate"
    unit: ClassVar[Unit] = "rate"
    higher_is_better: bool = True
    meaning: ClassVar[str] = "of the test inputs that the faulty model gets wrong, the share that is right afterwards"
    role: ClassVar[Role] = "repaired"
    bootstrapped: ClassVar[bool] = True
    undefined: ClassVar[str] = "the faulty model errs on no test input"

    def of(self, kinds: Transitions) -> dict[str, Tensor]:
        """The repair rate, "after" alone."""
        return {"after": kinds.repaired / (kinds.wrong + kinds.repaired)}
