"""Metrics that follow from how many inputs are of each kind, and how sure they are of the inputs that were drawn."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from study.errors import NotApplicable
from study.metrics.base import Comparison

CONFIDENCE = 0.95
"""Of the intervals."""


class Counted(Comparison):
    """A comparison that depends on nothing but the number of inputs in each of K cells.

    To draw the inputs anew, with replacement, is then to draw K counts. Source: Efron and Tibshirani, "An Introduction
    to the Bootstrap", 1993, chapter 13 (percentile interval).

    Attributes:
        bootstrapped: Whether it has an interval.
        undefined: Why it is not applicable where it comes to NaN.
    """

    bootstrapped: ClassVar[bool] = False
    undefined: ClassVar[str] = ""

    @abstractmethod
    def counts(self) -> Tensor:
        """[K] long: how many inputs were counted in each cell.

        Raises:
            NotApplicable: the metric is not defined for what was counted.
        """

    @abstractmethod
    def of_counts(self, counts: Tensor) -> dict[str, Tensor]:
        """The values [...] "before" and "after" of counts [..., K]; NaN where they are not defined."""

    def compute(self) -> dict[str, Tensor]:
        """See `Comparison.compute`."""
        counts = self.counts()
        if counts.sum() == 0:
            raise NotApplicable("there are no test inputs")
        values = self.of_counts(counts)
        if values["after"].isnan():
            raise NotApplicable(self.undefined)
        return values

    def interval(self, resamples: int, generator: np.random.Generator) -> tuple[float, float] | None:
        """See `Comparison.interval`; `compute` has to be defined."""
        if not self.bootstrapped:
            return None
        values = self.of_counts(resampled(self.counts().cpu(), resamples, generator))["after"]
        tail = (1 - CONFIDENCE) / 2
        low, high = values[~values.isnan()].quantile(torch.tensor([tail, 1 - tail]).to(values)).tolist()
        return (low, high) if low < high else None


def resampled(counts: Tensor, resamples: int, generator: np.random.Generator) -> Tensor:
    """Counts [resamples, K] of as many inputs drawn with replacement from those counted in [K], on the CPU.

    >>> resampled(torch.tensor([0, 3]), 2, np.random.default_rng(0))
    tensor([[0, 3],
            [0, 3]])
    """
    number, drawn = int(counts.sum()), torch.zeros(resamples, len(counts), dtype=torch.long)
    occupied = counts.nonzero().flatten()
    shares = counts[occupied].double().numpy() / number
    drawn[:, occupied] = torch.from_numpy(generator.multinomial(number, shares, size=resamples))
    return drawn
