"""The F1 score of a model for one class."""

from __future__ import annotations

from torch import Tensor, nn

from study.data.split import Split
from study.problem.prediction import predict


def class_f1(model: nn.Module, split: Split, label: int) -> Tensor:
    """F1 score of the answer `label` on a split, a scalar; NaN where the class is neither there nor answered."""
    answered, there = predict(model, split).argmax(1) == label, split.labels == label
    return 2 * (answered & there).sum() / (answered.sum() + there.sum())
