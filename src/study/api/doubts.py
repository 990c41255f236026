"""What is doubtful in a user's model, though it can be used: said in a warning."""

from __future__ import annotations

import warnings

from torch import Tensor, nn

from study.metrics.standing import Standing, accuracy_on, suspicion

TOLERANCE = 1e-3
"""Distance from 1 of the sum of a row of probabilities, at most; half-precision floats err by less."""
REMEDY = (
    "normalise them as in its training (study.Data(mean=..., std=...)), and number the classes in the order of its "
    "outputs"
)
LEVEL = 3
"""Calls from a warning here up to the user's own line, where `repair` or `evaluate` ask for it themselves."""


def warn_of_model(model: nn.Module, standing: Standing) -> None:
    """Say so where the outputs of a model are probabilities, or where it is hardly better than chance on train."""
    warn_of_probabilities(standing.logits, "the model", LEVEL + 1)
    if "train" not in standing.splits:
        return
    train = standing.splits["train"]
    if doubt := suspicion(accuracy_on(model, train, standing.seed), train.labels, REMEDY):
        warnings.warn(f"the model: {doubt}", stacklevel=LEVEL)


def warn_of_probabilities(logits: Tensor, which: str, level: int = LEVEL) -> None:
    """Say so where the outputs [N, C] of the model called `which` are probabilities; level: see `LEVEL`."""
    if are_probabilities(logits):
        warnings.warn(
            f"{which} gives probabilities (none is negative, and each row sums to 1), and logits are expected: leave "
            "out the Softmax at its end",
            stacklevel=level,
        )


def are_probabilities(outputs: Tensor) -> bool:
    """Whether the rows of `outputs` [N, C] look as a Softmax makes them."""
    return bool((outputs >= 0).all()) and bool(((outputs.double().sum(1) - 1).abs() <= TOLERANCE).all())
