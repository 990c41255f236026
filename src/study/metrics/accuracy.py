"""Accuracy: the share of inputs that a model classifies right."""

from typing import ClassVar

from torch import Tensor

from study.metrics.base import is_right
from study.metrics.description import Role, Unit
from study.metrics.transitions import TransitionMetric, Transitions


def accuracy(logits: Tensor, target: Tensor) -> Tensor:
    """Share of inputs classified right.

    Args:
        logits: [N, C].
        target: [N] long.

    Returns:
        Scalar in [0, 1].

    >>> import torch
    >>> accuracy(torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([0, 1]))
    tensor(0.5000, dtype=torch.float64)
    """
    return is_right(logits, target).double().mean()


class Accuracy(TransitionMetric):
    """Accuracy of either model; it is not defined where there are no inputs."""

    name: ClassVar[str] = "accuracy"
    unit: ClassVar[Unit] = "rate"
    higher_is_better: bool = True
    meaning: ClassVar[str] = "share of test inputs that are right afterwards"
    role: ClassVar[Role] = "accuracy"
    bootstrapped: ClassVar[bool] = True

    def of(self, kinds: Transitions) -> dict[str, Tensor]:
        """The accuracy "before" and "after"."""
        before, after = kinds.right + kinds.broken, kinds.right + kinds.repaired
        return {"before": before / kinds.total, "after": after / kinds.total}
