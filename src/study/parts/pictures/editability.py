"""Pictures of Editable Training: repairs and their price, and how well the network can be edited, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from study.parts.pictures.curves import Panel, draw_panels
from study.parts.training.editor_training import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROGRESS = {
    "repair_set/repair_rate": "repair rate (repair split)",
    "validation/negative_flip_rate": "negative flips (validation)",
    "validation/accuracy": "accuracy (validation)",
}
EDITABILITY = {
    "edit/success": "random edits that succeed",
    "edit/drawdown": "accuracy that one costs",
}


def draw_evaluations(evaluations: Sequence[Evaluation], chosen: Evaluation | None) -> dict[str, Figure]:
    """A figure of the progress and one of the editability; none if no epoch was chosen (no training took place)."""
    if chosen is None:
        return {}
    logs, kept = [(evaluation.step, evaluation.log()) for evaluation in evaluations], chosen.log()

    def drawn(titles: dict[str, str]) -> Figure:
        return draw_panels(
            [
                Panel(title, [(step, log[name]) for step, log in logs], {"kept": [(chosen.step, kept[name])]})
                for name, title in titles.items()
            ]
        )

    return {"progress": drawn(PROGRESS), "editability": drawn(EDITABILITY)}
