"""Picture of how a model stood against the faulty one while it was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from study.parts.pictures.curves import Panel, Point, draw_panels
from study.parts.training.standing import Standing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = {
    "repair_rate": "Repair rate on the failing repair inputs",
    "negative_flip_rate": "Negative flips on validation",
    "validation_accuracy": "Accuracy on validation",
}


def draw_standings(
    standings: Sequence[tuple[int, Standing]], marks: Mapping[str, Sequence[tuple[int, Standing]]]
) -> Figure:
    """A panel for each share of the standings over the gradient steps; marks: further standings, by name."""

    def points(of: Sequence[tuple[int, Standing]], share: str) -> list[Point]:
        return [(step, getattr(standing, share)) for step, standing in of]

    return draw_panels(
        [
            Panel(title, points(standings, share), {name: points(marked, share) for name, marked in marks.items()})
            for share, title in PANELS.items()
        ]
    )
