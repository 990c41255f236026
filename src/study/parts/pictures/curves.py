"""Curves of rates over the gradient steps of a training, one panel per quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Point = tuple[int, float]
"""Gradient step and rate in [0, 1]."""
SYMBOLS = ("^", "x", "o", "s")


@dataclass
class Panel:
    """One rate over the gradient steps; marks: further points by name, each name drawn with a symbol of its own."""

    title: str
    points: list[Point] = field(default_factory=list)
    marks: Mapping[str, Sequence[Point]] = field(default_factory=dict)


def draw_panels(panels: Sequence[Panel]) -> Figure:
    """The panels one below the other over a common axis of gradient steps; rates in percent."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2 * len(panels)), layout="constrained")
    for axes, panel in zip(figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0], panels, strict=True):
        axes.plot([step for step, _ in panel.points], [100 * rate for _, rate in panel.points], color="tab:blue")
        for (name, marks), symbol in zip(panel.marks.items(), SYMBOLS, strict=False):
            if marks:
                steps, rates = zip(*marks, strict=True)
                axes.plot(steps, [100 * rate for rate in rates], symbol, color="tab:orange", label=name, zorder=3)
        axes.set_title(panel.title, loc="left", fontsize=10)
        axes.set_ylabel("%")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    axes.set_xlabel("gradient steps")
    return figure
