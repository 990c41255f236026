"""By how much the weights of a layer changed, unit by unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_changes(changes: Mapping[str, Tensor]) -> Mapping[str, Figure]:
    """One panel for each changed parameter: units from top to bottom, their inputs from left to right.

    A bias is one column; `changes`: what was added to each parameter, by its name.
    """
    from matplotlib.figure import Figure

    shown = {name: change.detach().cpu().reshape(len(change), -1).numpy() for name, change in changes.items()}
    largest = max(float(abs(change).max()) for change in shown.values()) or 1.0
    widths = [max(0.15, min(1.0, change.shape[1] / 40)) for change in shown.values()]
    figure = Figure(figsize=(3 + 4 * sum(widths), 4.5), layout="constrained")
    panels = figure.subplots(1, len(shown), width_ratios=widths, squeeze=False)[0]
    for panel, (name, change) in zip(panels, shown.items(), strict=True):
        image = panel.imshow(change, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto", interpolation="nearest")
        panel.set_title(f"{name}\n{(change != 0).mean():.0%} changed", fontsize=8)
        panel.set_xticks([])
    panels[0].set_ylabel("unit")
    figure.colorbar(image, ax=list(panels), label="change")
    return {"weight_change": figure}
