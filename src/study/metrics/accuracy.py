"""Accuracy: the share of inputs that a model classifies right."""

from typing import ClassVar

from torch import Tensor

from study.errors import NotApplicable
from study.metrics.base import Comparison, is_right
from study.metrics.description import Role, Unit


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


class Accuracy(Comparison):
    """Accuracy of either model; it is not defined where there are no inputs."""

    name: ClassVar[str] = "accuracy"
    unit: ClassVar[Unit] = "rate"
    higher_is_better: bool = True
    meaning: ClassVar[str] = "share of test inputs that are right afterwards"
    role: ClassVar[Role] = "accuracy"

    right_before: Tensor
    right_after: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        for count in ("right_before", "right_after", "total"):
            self.add_count(count)

    def update(self, before: Tensor, after: Tensor, target: Tensor, groups: Tensor | None = None) -> None:
        """See `Comparison.update`."""
        self.right_before += is_right(before, target).sum()
        self.right_after += is_right(after, target).sum()
        self.total += len(target)

    def compute(self) -> dict[str, Tensor]:
        """The accuracy "before" and "after"."""
        if self.total == 0:
            raise NotApplicable("there are no test inputs")
        return {"before": self.right_before.double() / self.total, "after": self.right_after.double() / self.total}
