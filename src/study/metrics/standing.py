"""How the faulty model does before any repair, and whether a checkpoint gets the inputs that it was trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from study.data.split import Split
from study.metrics.description import Description
from study.metrics.measured import Measured
from study.problem.prediction import predict, right
from study.runtime.randomness import stream

log = logging.getLogger(__name__)

EXAMINED = 10_000
"""Items of a split at most that a checkpoint is tried on."""
DOUBTFUL = 0.5
"""A trained network is expected to get beyond this share of the way from the largest class to all right."""


@dataclass(frozen=True)
class Standing:
    """How the faulty model does: logits [N, C] on the split `test`, and what else was measured of it."""

    test: Split
    logits: Tensor
    measured: Measured = field(default_factory=Measured)

    @classmethod
    def of(cls, model: nn.Module, splits: Mapping[str, Split], checkpoint: str | None, seed: int) -> Standing:
        """Run `model` over the test split; of a user's checkpoint, say how right it is on the other splits as well.

        A checkpoint that is hardly better than chance on the training split is warned of.
        """
        test = splits["test"]
        logits = predict(model, test)
        if checkpoint is None:
            return cls(test, logits)
        rates = accuracies(model, {name: splits[name] for name in ("train", "validation")}, seed)
        everywhere = rates | {"test": (logits.argmax(1) == test.labels).double().mean().item()}
        told = ", ".join(f"{rate:.2%} on {name}" for name, rate in everywhere.items())
        log.info("%s: accuracy %s", Path(checkpoint).name, told)
        if doubt := suspicion(rates["train"], splits["train"].labels):
            log.warning("faulty.checkpoint=%s: %s", checkpoint, doubt)
        return cls(test, logits, described(rates))


def accuracies(model: nn.Module, splits: Mapping[str, Split], seed: int) -> dict[str, float]:
    """Accuracy on a random part (`EXAMINED` items at most) of each split, by its name."""
    found = {}
    for name, split in splits.items():
        order = torch.randperm(len(split), generator=stream(seed, "examined", name))
        part = split if len(split) <= EXAMINED else split.subset(order[:EXAMINED])
        found[name] = right(model, part).double().mean().item()
    return found


def described(rates: Mapping[str, float]) -> Measured:
    """What is tracked of them: `before/NAME_accuracy` for each split."""
    return Measured(
        {f"before/{name}_accuracy": value for name, value in rates.items()},
        {
            f"{name}_accuracy": Description(
                label=f"{name} accuracy",
                unit="rate",
                higher_is_better=True,
                meaning=f"share of {name} inputs that the checkpoint classifies right",
                summary=False,
            )
            for name in rates
        },
    )


def suspicion(accuracy: float, labels: Tensor) -> str | None:
    """Why a checkpoint with this accuracy on training items of these labels [N] is not taken at its word, or None."""
    largest = labels.bincount().max().item() / len(labels)
    if accuracy >= largest + DOUBTFUL * (1 - largest):
        return None
    return (
        f"{accuracy:.2%} of the training inputs are right, where always answering with the largest class gives "
        f"{largest:.2%}: "
        "if the network was better where it was trained, its inputs are prepared otherwise here; "
        "set dataset.size, dataset.mean, dataset.std or dataset.transform as in its training"
    )
