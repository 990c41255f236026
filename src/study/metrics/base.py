"""The two contracts of a metric: `Comparison` reads the logits of both models, `ModelMetric` runs the models."""

from abc import abstractmethod
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn
from torchmetrics import Metric


def is_right(logits: Tensor, target: Tensor) -> Tensor:
    """Which inputs are classified as their label says.

    Args:
        logits: [N, C].
        target: [N] long.

    Returns:
        [N] bool.

    >>> is_right(torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([0, 1]))
    tensor([ True, False])
    """
    return logits.argmax(dim=1) == target


class Comparison(Metric):
    """A property computed from the logits of both models on the same inputs.

    A subclass names itself, says which direction is better, declares its states with their reduction and counts in
    `update`; batches may come in any number.
    """

    name: ClassVar[str]
    higher_is_better: bool
    full_state_update: bool = False

    @abstractmethod
    def update(self, before: Tensor, after: Tensor, target: Tensor, groups: Tensor | None = None) -> None:
        """Counts one batch.

        Args:
            before: [N, C] logits of the faulty model.
            after: [N, C] logits of the repaired model.
            target: [N] long, the labels.
            groups: [N] long, 0 or 1, the sensitive group of each input; None where the data set has none.
        """

    @abstractmethod
    def compute(self) -> dict[str, Tensor]:
        """The scalars "before" and "after" (a property of the change: "after" alone); empty where it does not apply."""

    def add_count(self, state: str) -> None:
        """Declares an integer state that starts at 0 and is summed over batches and processes."""
        self.add_state(state, default=torch.tensor(0), dist_reduce_fx="sum")


class ModelMetric(Protocol):
    """A property that needs the models, not just their logits: an attack."""

    @property
    def name(self) -> str: ...

    @property
    def higher_is_better(self) -> bool: ...

    @property
    def epsilon(self) -> float | None:
        """The metric's own radius in units of the inputs; None: the data set's."""
        ...

    def measure(
        self,
        before: nn.Module,
        after: nn.Module,
        inputs: Tensor,
        target: Tensor,
        right: Tensor,
        generator: torch.Generator,
        *,
        box: tuple[float, float],
        epsilon: float | None,
    ) -> dict[str, float]:
        """Measures both models on the same inputs.

        Args:
            before: the faulty model, in eval mode.
            after: the repaired model, in eval mode.
            inputs: [N, ...] float, in their natural range.
            target: [N] long, the labels.
            right: [N] bool, the inputs that both models classify right.
            generator: on the CPU; the only source of randomness.
            box: the smallest and the largest value that an input can have.
            epsilon: the data set's radius, in units of the inputs; used unless the metric has its own.

        Returns:
            "before" and "after", or nothing where the metric does not apply.
        """
        ...
