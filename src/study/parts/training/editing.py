"""Guarded editing: failing inputs are corrected by edits, of which those are accepted that a guard set allows.

Phase 2 of Editable Training. It is our definition of the repair; the paper edits single inputs only.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Literal, NamedTuple

from torch import Tensor

from study.data.split import Split
from study.parts.training.edit_probes import Guard
from study.parts.training.editor import Editor, shortfall

GUARD_SIZE = 10_000
"""Validation inputs on which edits are judged, at most. Of many edits those are accepted that happen to do no harm to
these inputs: the fewer they are, the more harm the accepted edits do to others."""
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
    counts = EditCounts()
    for feature, label in zip(features.split(1), labels.split(1), strict=True):
        edit = editor.edit(feature, label, graph=False)
        if not edit.steps:
            continue
        if edit.success and guard.accuracy(editor, edit.weights) >= min_accuracy:
            editor.write(edit.weights)
            counts = counts._replace(accepted=counts.accepted + 1)
        else:
            counts = counts._replace(rejected=counts.rejected + 1)
        yield _log(editor, guard, counts)
    return counts


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
    yield _log(editor, guard, counts)
    return counts


def _log(editor: Editor, guard: Guard, counts: EditCounts) -> Mapping[str, float | Tensor]:
    return {
        "edits/accepted": counts.accepted,
        "edits/rejected": counts.rejected,
        "edits/guard_accuracy": guard.accuracy(editor),
    }


def still_wrong(editor: Editor, failing: Split) -> tuple[Tensor, Tensor]:
    """Step 11: features [n, ...] and labels [n] of the inputs wrong under theta, by ascending edit loss, then index."""
    features = editor.features_of(failing)
    logits = editor.predict(features)
    order = shortfall(logits, failing.labels).argsort(stable=True)
    order = order[(logits.argmax(1) != failing.labels)[order]]
    return features[order], failing.labels[order]
