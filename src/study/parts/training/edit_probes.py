"""How well a network can be edited: whether edits succeed, and what each costs the other inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from study.data.split import Split
from study.parts.training.editor import Editor

PROBED = 2_000
"""Validation inputs on which a probe's cost is measured: enough to see a tenth of a percent."""


@dataclass(frozen=True)
class Guard:
    """Validation inputs on which edits are judged: `features` as the editor's suffix takes them, `labels` [N]."""

    features: Tensor
    labels: Tensor

    @classmethod
    def of(cls, editor: Editor, split: Split) -> Guard:
        """For as long as what precedes the edited parameters stays as it is now."""
        return cls(editor.features_of(split), split.labels)

    def accuracy(self, editor: Editor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Share that is right under an edit's weights, or under theta; a scalar."""
        return (editor.predict(self.features, weights).argmax(1) == self.labels).double().mean()


class Editability(NamedTuple):
    """success: share of edits after which the wanted class wins; drawdown: mean accuracy lost; steps: mean number."""

    success: float
    drawdown: float
    steps: float


class Probes:
    """`count` random (input, label) requests, the same ones at each measurement, each edit starting from theta.

    The inputs are of the validation split; `guard` is what an edit's cost is measured on.
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
            lost = unedited - guard.accuracy(editor, edit.weights)
            edits.append(torch.stack([edit.success.double(), lost, torch.as_tensor(edit.steps).to(lost)]))
        return Editability(*torch.stack(edits).mean(0).tolist())


def guard_subset(validation: Split, most: int, generator: torch.Generator) -> Split:
    """At most so many inputs of the validation split at random, in its order."""
    return validation.subset(torch.randperm(len(validation), generator=generator)[:most].sort().values)
