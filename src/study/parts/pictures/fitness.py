"""The best fitness of a search over its rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_fitness(
    best: Sequence[float], original: float | None = None, label: str = "fitness", rounds: str = "generation"
) -> Figure:
    """The best fitness after each round, from that of the first candidates on, beside the faulty model's."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(len(best)), best, color="tab:blue", marker="." if len(best) < 40 else None, label="best candidate")
    if original is not None:
        axes.axhline(original, color="tab:gray", linestyle="--", label="faulty model")
    axes.set_xlabel(rounds)
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return figure
