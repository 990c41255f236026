"""Calibration: whether the probabilities of a model's answers are the shares that come true."""

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from study.errors import NotApplicable
from study.metrics.base import Comparison, is_right
from study.metrics.description import Description, Unit


class CalibrationMetric(Comparison):
    """Sums over the inputs, of either model.

    Args:
        size: how many sums there are.
    """

    higher_is_better: bool = False
    summary: ClassVar[bool] = False

    sums_before: Tensor
    sums_after: Tensor
    total: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        for state in ("sums_before", "sums_after"):
            self.add_state(state, default=torch.zeros(size, dtype=torch.double), dist_reduce_fx="sum")
        self.add_count("total")

    @abstractmethod
    def sums(self, probabilities: Tensor, target: Tensor) -> Tensor:
        """[size] double, of probabilities [N, C] and labels [N]."""

    @abstractmethod
    def of(self, sums: Tensor, total: Tensor) -> Tensor:
        """The value, a scalar, of `sums` [size] over `total` inputs."""

    def update(self, before: Tensor, after: Tensor, target: Tensor, groups: Tensor | None = None) -> None:
        """See `Comparison.update`."""
        self.sums_before += self.sums(before.softmax(dim=1), target)
        self.sums_after += self.sums(after.softmax(dim=1), target)
        self.total += len(target)

    def compute(self) -> dict[str, Tensor]:
        """The value "before" and "after"."""
        if self.total == 0:
            raise NotApplicable("there are no test inputs")
        return {"before": self.of(self.sums_before, self.total), "after": self.of(self.sums_after, self.total)}


class ExpectedCalibrationError(CalibrationMetric):
    """Mean distance between confidence and accuracy, over bins of equal width of the confidence.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3. The bins are torchmetrics':
    a confidence of exactly 1 has one of its own.

    Args:
        bins: how many.
    """

    name: ClassVar[str] = "expected_calibration_error"
    label: ClassVar[str] = "calibration error"
    unit: ClassVar[Unit] = "rate"
    meaning: ClassVar[str] = "expected calibration error: mean distance between confidence and accuracy"

    def __init__(self, *, bins: int = 15) -> None:
        if bins < 1:
            raise ValueError(f"bins is {bins}; it takes one at least")
        super().__init__(bins + 1)
        self.bins = bins

    def describe(self) -> Description:
        """See `Comparison.describe`."""
        return replace(super().describe(), protocol=f"{self.bins} bins of equal width")

    def sums(self, probabilities: Tensor, target: Tensor) -> Tensor:
        """In each bin, the confidences less the number of right answers."""
        confidence = probabilities.amax(dim=1)
        edges = torch.linspace(0, 1, self.bins + 1, dtype=confidence.dtype, device=confidence.device)
        places = torch.bucketize(confidence, edges, right=True) - 1
        excess = confidence.double() - is_right(probabilities, target).double()
        return torch.zeros_like(self.sums_before).index_add(0, places, excess)

    def of(self, sums: Tensor, total: Tensor) -> Tensor:
        """See `CalibrationMetric.of`."""
        return sums.abs().sum() / total


class BrierScore(CalibrationMetric):
    """Mean squared distance of the probabilities from the label's, summed over classes: from 0 to 2.

    Source: Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly Weather Review 1950. For two
    classes it is twice what is often given.
    """

    name: ClassVar[str] = "brier_score"
    label: ClassVar[str] = "Brier score"
    meaning: ClassVar[str] = "mean squared distance of the probabilities from the truth, summed over classes"

    def __init__(self) -> None:
        super().__init__(1)

    def sums(self, probabilities: Tensor, target: Tensor) -> Tensor:
        """The squared distances."""
        squares, of_label = probabilities.square().sum(dim=1), probabilities.gather(1, target[:, None])[:, 0]
        return (squares.double() - 2 * of_label.double() + 1).sum().reshape(1)

    def of(self, sums: Tensor, total: Tensor) -> Tensor:
        """See `CalibrationMetric.of`."""
        return sums[0] / total
