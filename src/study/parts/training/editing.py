"""Phase 2 of Editable Training: the failing repair inputs that phase 1 left wrong are edited, if that costs nothing.

Our definition of the repair; the paper edits single inputs only.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from study.data.split import Split
from study.parts.training.edit_probes import Guard, guard_subset
from study.parts.training.editor import Editor, EditorSettings, shortfall
from study.problem.problem import Problem
from study.repair.approach import Log, Patching, Rounds

GUARDED = 10_000
"""Validation inputs on which edits are judged, at most. Of many edits those are accepted that happen to do no harm to
these inputs: the fewer they are, the more harm the accepted edits do to others."""
ROUNDING = 1e-9
"""Accuracies are shares of a count: a loss of exactly `tol` is within the bound."""


class Editing(Patching):
    """Edits a model of its own in place.

    Args:
        model: the network that phase 1 made, in eval mode.
        settings: of the editor; `decay`: its beta.
        mode: `sequential`, one input after the other, each edit kept or dropped; `joint`, one edit for all of them.
        tol: accuracy on the guard set (at most 10,000 validation inputs) that all edits together may cost.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: EditorSettings,
        decay: Tensor,
        mode: Literal["sequential", "joint"],
        tol: float,
    ) -> None:
        super().__init__()
        self.model, self.settings, self.decay, self.mode, self.tol = model, settings, decay, mode, tol
        self.accepted = self.rejected = 0

    def rounds(self, problem: Problem) -> Rounds:
        """Steps 11 to 13."""
        self.model.eval()
        failing = problem.repair_set.subset(problem.failing)
        editor = self.settings.editor(self.model, failing.fetch(torch.tensor([0])).inputs, self.decay)
        guard = Guard.of(editor, guard_subset(problem.validation, GUARDED, problem.stream("guard")))
        self.least = float(guard.accuracy(editor)) - self.tol - ROUNDING
        features, labels = still_wrong(editor, failing)
        if len(labels):
            yield from (self._sequential if self.mode == "sequential" else self._joint)(editor, guard, features, labels)
        return self.model

    def _sequential(self, editor: Editor, guard: Guard, features: Tensor, labels: Tensor) -> Rounds:
        """Step 12: phi <- phi' for each input still wrong at its turn, if it succeeded and the guard set allows it."""
        for feature, label in zip(features.split(1), labels.split(1), strict=True):
            edit = editor.edit(feature, label, graph=False)
            if not edit.steps:
                continue
            if edit.success and guard.accuracy(editor, edit.weights) >= self.least:
                editor.write(edit.weights)
                self.accepted += 1
            else:
                self.rejected += 1
            yield self._log(editor, guard)
        return self.model

    def _joint(self, editor: Editor, guard: Guard, features: Tensor, labels: Tensor) -> Rounds:
        """Step 12, joint: of the K + 1 iterates of one edit that the guard set allows, the one that repairs most."""
        most = 0
        best: dict[str, Tensor] = {}
        for edit in editor.iterates(features, labels, graph=False):
            fixed = int((editor.predict(features, edit.weights).argmax(1) == labels).sum())
            if fixed > most and guard.accuracy(editor, edit.weights) >= self.least:
                most, best = fixed, edit.weights
        if best:
            editor.write(best)
        self.accepted, self.rejected = int(bool(best)), int(not best)
        yield self._log(editor, guard)
        return self.model

    def costs(self) -> Log:
        return {"accepted_edits": self.accepted, "rejected_edits": self.rejected}

    def _log(self, editor: Editor, guard: Guard) -> Log:
        return {
            "edits/accepted": self.accepted,
            "edits/rejected": self.rejected,
            "edits/guard_accuracy": guard.accuracy(editor),
        }


def still_wrong(editor: Editor, failing: Split) -> tuple[Tensor, Tensor]:
    """Step 11: features and labels of the inputs wrong under theta, by ascending edit loss (ties: by index)."""
    features = editor.features_of(failing)
    logits = editor.predict(features)
    order = shortfall(logits, failing.labels).argsort(stable=True)
    order = order[(logits.argmax(1) != failing.labels)[order]]
    return features[order], failing.labels[order]
