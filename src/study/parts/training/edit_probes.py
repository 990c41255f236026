"""How well a network can be edited: whether edits succeed, and how much accuracy each costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from study.data.split import Split
from study.parts.training.editor import Editor

PROBE_GUARD_SIZE = 2_000
"""Validation inputs on which the accuracy that a probe costs is measured, at most: enough for a tenth of a percent."""


@dataclass(frozen=True)
class Guard:
    """Validation inputs on which edits are judged: `features` as the editor's suffix takes them, `labels` [N]."""

    features: Tensor
    labels: Tensor

    @classmethod
    def of(cls, editor: Editor, split: Split) -> Guard:
        """The inputs of a split; valid while the layers before the edited ones keep their weights."""
        return cls(editor.features_of(split), split.labels)

    def accuracy(self, editor: Editor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Accuracy under an edit's weights, or under theta; a scalar."""
        return (editor.predict(self.features, weights).argmax(1) == self.labels).double().mean()


class Editability(NamedTuple):
    """success: share of edits after which the target class wins; drawdown: mean accuracy lost; steps: mean number."""

    success: float
    drawdown: float
    steps: float


class Probes:
    """`count` random (validation input, class) edits, the same ones at each measurement, each starting from theta.

    `guard`: the inputs on which the accuracy that an edit costs is measured.
    """

    def __init__(self, validation: Split, guard: Split, classes: int, count: int, generator: torch.Generator) -> None:
        self.guard = guard
        self._requests = validation.subset(torch.randint(len(validation), (count,), generator=generator))
        self._labels = torch.randint(classes, (count,), generator=generator).to(validation.device)

    def measure(self, editor: Editor) -> Editability:
        """Editability of the editor's model, which must be in eval mode."""
        guard = Guard.of(editor, self.guard)
        unedited = guard.accuracy(editor)
        features = editor.features_of(self._requests)
        edits = []
        for feature, label in zip(features.split(1), self._labels.split(1), strict=True):
            edit = editor.edit(feature, label, graph=False)
            drawdown = unedited - guard.accuracy(editor, edit.weights)
            edits.append(torch.stack([edit.success.double(), drawdown, torch.as_tensor(edit.steps).to(drawdown)]))
        return Editability(*torch.stack(edits).mean(0).tolist())


def guard_subset(validation: Split, limit: int, generator: torch.Generator) -> Split:
    """At most `limit` inputs of the validation split at random, in its order."""
    return validation.subset(torch.randperm(len(validation), generator=generator)[:limit].sort().values)
