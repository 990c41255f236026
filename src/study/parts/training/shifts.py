"""What shifts of a network's weights brought on the validation split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from study.parts.training.standing import Standing


class Shifted(NamedTuple):
    """A shift of the weights that `inputs` failing inputs asked for, after `step` gradient steps.

    before, after: how the model stood; kept: whether training went on from the shifted weights.
    """

    step: int
    inputs: int
    before: Standing
    after: Standing
    kept: bool

    @property
    def validation_gain(self) -> float:
        """Change of the accuracy on the validation split, in [-1, 1]."""
        return self.after.validation_accuracy - self.before.validation_accuracy

    def log(self) -> dict[str, float]:
        """Its points on the curves, at its gradient step."""
        values = {"shift/inputs": self.inputs, "shift/validation_gain": self.validation_gain, "shift/kept": self.kept}
        return {"step": self.step} | values


def shift_costs(shifts: Sequence[Shifted]) -> dict[str, float]:
    """How many inputs shifted the weights, how many shifts there were and were kept, and the mean gain of one."""
    return {
        "shifting_inputs": sum(shift.inputs for shift in shifts),
        "shifts": len(shifts),
        "shifts_kept": sum(shift.kept for shift in shifts),
        "shift_validation_gain": sum(shift.validation_gain for shift in shifts) / max(1, len(shifts)),
    }


def by_fate(shifts: Sequence[Shifted]) -> dict[str, list[tuple[int, Standing]]]:
    """Gradient step and standing after each shift, those that were kept apart from those that were undone."""
    fates = {"shift kept": True, "shift undone": False}
    return {name: [(shift.step, shift.after) for shift in shifts if shift.kept == kept] for name, kept in fates.items()}
