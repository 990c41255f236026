"""How the faulty model does before any repair, and whether a checkpoint gets the inputs that it was trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from study.data.split import Split
from study.metrics.description import Description
from study.metrics.measured import Measured
from study.problem.prediction import accuracy, predict
from study.runtime.randomness import stream

log = logging.getLogger(__name__)

EXAMINED = 10_000
"""Items of a split at most that a checkpoint is tried on."""
DOUBTFUL = 0.5
"""A trained network is expected to get beyond this share of the way from the largest class to all right."""
REMEDY = "set dataset.size, dataset.mean, dataset.std or dataset.transform as in its training"


@dataclass(frozen=True)
class Standing:
    """How the faulty model does before any repair.

    splits: what there is of the four, `test` at least; logits: [N, C] on `test`; rates: its accuracy on others, by
    name; seed: of the items of a large split that it was tried on.
    """

    splits: Mapping[str, Split]
    logits: Tensor
    rates: Mapping[str, float]
    seed: int

    @classmethod
    def of(
        cls,
        model: nn.Module,
        splits: Mapping[str, Split],
        checkpoint: str | None,
        seed: int,
        setting: str = "faulty.checkpoint",
    ) -> Standing:
        """Run `model` over the test split; of a user's checkpoint, say how right it is on the other splits as well.

        A checkpoint that is hardly better than chance on the training split is warned of; `setting` is what names it.
        """
        logits = predict(model, splits["test"])
        others = ("validation",) if checkpoint is None else ("train", "validation")
        rates = {name: accuracy_on(model, splits[name], seed) for name in others if name in splits}
        if checkpoint is None:
            return cls(splits, logits, rates, seed)
        everywhere = rates | {"test": (logits.argmax(1) == splits["test"].labels).double().mean().item()}
        told = ", ".join(f"{rate:.2%} on {name}" for name, rate in everywhere.items())
        log.info("%s: accuracy %s", Path(checkpoint).name, told)
        if doubt := suspicion(rates["train"], splits["train"].labels):
            log.warning("%s=%s: %s", setting, checkpoint, doubt)
        return cls(splits, logits, rates, seed)

    def beside(self, model: nn.Module | None) -> Measured:
        """Accuracy on the training split (of a checkpoint alone), and on validation before and after the repair.

        The latter is what hyperparameters are to be chosen by: the test split would flatter the chosen ones.
        """
        measured = Measured()
        for name, rate in self.rates.items():
            values = {"before": rate}
            if name == "validation" and model is not None:
                values["after"] = accuracy_on(model, self.splits[name], self.seed)
            measured |= Measured.of(f"{name}_accuracy", _description(name), values)
        return measured


def accuracy_on(model: nn.Module, split: Split, seed: int) -> float:
    """Accuracy on a split, of a large one on a random part (`EXAMINED` items)."""
    if len(split) > EXAMINED:
        order = torch.randperm(len(split), generator=stream(seed, "examined", split.name))
        split = split.subset(order[:EXAMINED])
    return accuracy(model, split)


def _description(name: str) -> Description:
    return Description(
        label=f"{name} accuracy",
        unit="rate",
        higher_is_better=True,
        meaning=f"share of {name} inputs classified right; approaches may have used them",
        summary=False,
    )


def suspicion(rate: float, labels: Tensor, remedy: str = REMEDY) -> str | None:
    """Why a network that gets this share of training items with these labels [N] right is doubted, or None.

    remedy: what to do about it.
    """
    largest = labels.bincount().max().item() / len(labels)
    if rate >= largest + DOUBTFUL * (1 - largest):
        return None
    return (
        f"{rate:.2%} of the training inputs are right, where always answering with the largest class gives "
        f"{largest:.2%}: if the network was better where it was trained, its inputs are prepared otherwise here; "
        f"{remedy}"
    )
