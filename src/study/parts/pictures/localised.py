"""Where the localised weights of a repair lie: how many of each layer's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from study.parts.network.places import Entries

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_localised(model: nn.Module, places: Entries) -> Figure:
    """One bar per parameter in which localised weights lie, in the order that the layers run, and its share in text."""
    from matplotlib.figure import Figure

    counts = {name: len(mine) for name, mine in places.by_parameter()}
    names = list(counts)
    figure = Figure(figsize=(7, 1.2 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, list(counts.values()), color="tab:blue")
    shares = [f"{counts[name]} of {model.get_parameter(name).numel():,}" for name in names]
    axes.bar_label(bars, shares, padding=4, fontsize=9)
    axes.margins(x=0.25)
    axes.invert_yaxis()  # the first layer on top
    axes.set_xlabel("localised weights")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
