"""McNemar's test: whether repairs and negative flips differ in number by more than chance explains."""

from typing import ClassVar

import torch
from scipy.stats import binomtest
from torch import Tensor

from study.metrics.description import Role, Unit
from study.metrics.transitions import TransitionMetric, Transitions


def mcnemar_p(repaired: int, broken: int) -> float:
    """Exact two-sided p-value of as many repairs and negative flips, were either equally likely.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 1947; its exact form is the sign test.

    >>> mcnemar_p(3, 0), mcnemar_p(0, 0)
    (0.25, 1.0)
    """
    return float(binomtest(repaired, repaired + broken).pvalue) if repaired + broken else 1.0


class McNemar(TransitionMetric):
    """The p-value of the change in accuracy: that of repairs against negative flips on the test inputs."""

    name: ClassVar[str] = "mcnemar_p"
    label: ClassVar[str] = "McNemar p"
    meaning: ClassVar[str] = (
        "p-value of the change in accuracy: exact two-sided McNemar test of the repairs against the negative flips"
    )
    summary: ClassVar[bool] = False
    role: ClassVar[Role] = "p_value"

    def of(self, kinds: Transitions) -> dict[str, Tensor]:
        """The p-value, "after" alone."""
        pairs = zip(kinds.repaired.flatten().tolist(), kinds.broken.flatten().tolist(), strict=True)
        values = [mcnemar_p(int(repaired), int(broken)) for repaired, broken in pairs]
        return {"after": torch.tensor(values, dtype=torch.double).reshape(kinds.repaired.shape)}


class RepairedInputs(TransitionMetric):
    """Number of inputs that were wrong before and are right after."""

    name: ClassVar[str] = "repaired_inputs"
    unit: ClassVar[Unit] = "count"
    higher_is_better: bool = True
    meaning: ClassVar[str] = "number of test inputs that were wrong before and are right afterwards"
    summary: ClassVar[bool] = False
    role: ClassVar[Role] = "repairs"

    def of(self, kinds: Transitions) -> dict[str, Tensor]:
        """The number, "after" alone."""
        return {"after": kinds.repaired}


class BrokenInputs(TransitionMetric):
    """Number of inputs that were right before and are wrong after."""

    name: ClassVar[str] = "broken_inputs"
    unit: ClassVar[Unit] = "count"
    higher_is_better: bool = False
    meaning: ClassVar[str] = "number of test inputs that were right before and are wrong afterwards"
    summary: ClassVar[bool] = False
    role: ClassVar[Role] = "flips"

    def of(self, kinds: Transitions) -> dict[str, Tensor]:
        """The number, "after" alone."""
        return {"after": kinds.broken}
