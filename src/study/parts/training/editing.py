"""Guarded editing: failing inputs are corrected by edits, of which those are accepted that a guard set allows.

Phase 2 of Editable Training. It is our definition of the repair; the paper edits single inputs only.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from study.data.split import Split
from study.parts.search.growing_parts import growing_parts
from study.parts.training.edit_probes import Guard
from study.parts.training.editor import Editor, shortfall

GUARD_SIZE = 10_000
"""Validation inputs on which edits are judged, at most. Of many edits those are accepted that happen to do no harm to
these inputs: the fewer they are, the more harm the accepted edits do to others."""
PARTS = (0.02, 0.1, 0.3, 1.0)
"""Shares of the guard set after which an edit that has broken too much already is given up."""
ROUNDING = 1e-9
"""Accuracies are shares of a count: a loss of exactly `tol` is within the bound."""


class EditCounts(NamedTuple):
    """How many edits were accepted and how many rejected."""

    accepted: int = 0
    rejected: int = 0

    def costs(self) -> dict[str, float]:
        """The counts as costs of a repair."""
        return {"accepted_edits": self.accepted, "rejected_edits": self.rejected}


Edits = Generator[Mapping[str, float | Tensor], None, EditCounts]
"""Edits in progress: yields what to log after each one, returns the counts."""


def guarded_edits(
    editor: Editor, failing: Split, guard: Guard, *, mode: Literal["sequential", "joint"], tol: float
) -> Edits:
    """Edit the editor's model in place, which must be in eval mode (steps 11 to 13).

    Args:
        failing: the inputs to correct; those that the model gets right by now are left out.
        mode: `sequential`, one input after the other, each edit accepted or rejected; `joint`, one edit for all.
        tol: accuracy on the guard set that all edits together may cost.
    """
    min_accuracy = float(guard.accuracy(editor)) - tol - ROUNDING
    features, labels = still_wrong(editor, failing)
    if not len(labels):
        return EditCounts()
    edits = _sequential if mode == "sequential" else _joint
    return (yield from edits(editor, features, labels, guard, min_accuracy))


def _sequential(editor: Editor, features: Tensor, labels: Tensor, guard: Guard, min_accuracy: float) -> Edits:
    """Step 12: phi <- phi' for each input still wrong at its turn, if it succeeded and the guard set allows it."""
    counts, watch = EditCounts(), Watch(editor, guard, min_accuracy)
    for feature, label in zip(features.split(1), labels.split(1), strict=True):
        edit = editor.edit(feature, label, graph=False)
        if not edit.steps:
            continue
        if edit.success and watch.allows(edit.weights):
            editor.write(edit.weights)
            counts = counts._replace(accepted=counts.accepted + 1)
        else:
            counts = counts._replace(rejected=counts.rejected + 1)
        yield _log(watch.accuracy, counts)
    return counts


class Watch:
    """A guard set, the inputs that its model is least sure of first: an edit that breaks too many is soon found out.

    accuracy: that of the last weights that were allowed, at first of the model's own.
    """

    def __init__(self, editor: Editor, guard: Guard, min_accuracy: float) -> None:
        self._editor, self._min_accuracy = editor, min_accuracy
        self._accept(guard, editor.predict(guard.features))

    def allows(self, weights: dict[str, Tensor]) -> bool:
        """Whether the accuracy under an edit's weights is not below the least one allowed; such weights are kept to."""
        most_wrong = len(self._guard.labels) - math.ceil(self._min_accuracy * len(self._guard.labels))
        logits, wrong = list[Tensor](), 0
        for rows in growing_parts(len(self._guard.labels), PARTS):
            logits.append(self._editor.predict(self._guard.features[rows], weights))
            wrong += int((logits[-1].argmax(1) != self._guard.labels[rows]).sum())
            if wrong > most_wrong:
                return False
        self._accept(self._guard, torch.cat(logits))
        return True

    def _accept(self, guard: Guard, logits: Tensor) -> None:
        label = guard.labels[:, None]
        margin = logits.gather(1, label)[:, 0] - logits.scatter(1, label, -torch.inf).amax(1)
        order = margin.argsort(stable=True)
        self._guard = Guard(guard.features[order], guard.labels[order])
        self.accuracy = float((logits.argmax(1) == guard.labels).double().mean())


def _joint(editor: Editor, features: Tensor, labels: Tensor, guard: Guard, min_accuracy: float) -> Edits:
    """Step 12, joint: of the K + 1 iterates of one edit that the guard set allows, the one that repairs most."""
    best_count = 0
    best: dict[str, Tensor] = {}
    for edit in editor.iterates(features, labels, graph=False):
        count = int((editor.predict(features, edit.weights).argmax(1) == labels).sum())
        if count > best_count and guard.accuracy(editor, edit.weights) >= min_accuracy:
            best_count, best = count, edit.weights
    if best:
        editor.write(best)
    counts = EditCounts(int(bool(best)), int(not best))
    yield _log(float(guard.accuracy(editor)), counts)
    return counts


def _log(guard_accuracy: float, counts: EditCounts) -> Mapping[str, float | Tensor]:
    return {
        "edits/accepted": counts.accepted,
        "edits/rejected": counts.rejected,
        "edits/guard_accuracy": guard_accuracy,
    }


def still_wrong(editor: Editor, failing: Split) -> tuple[Tensor, Tensor]:
    """Step 11: features [n, ...] and labels [n] of the inputs wrong under theta, by ascending edit loss, then index."""
    features = editor.features_of(failing)
    logits = editor.predict(features)
    order = shortfall(logits, failing.labels).argsort(stable=True)
    order = order[(logits.argmax(1) != failing.labels)[order]]
    return features[order], failing.labels[order]
