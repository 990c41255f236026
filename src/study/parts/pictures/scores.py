"""The scores that a localisation gives the neurons (or weights) of some layers, and which of them it chose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_scores(scores: Mapping[str, Tensor], chosen: Mapping[str, Tensor], label: str) -> Figure:
    """One panel per layer: its scores, the largest first, with the chosen ones marked.

    Args:
        scores: by layer, of any shape.
        chosen: by layer (none: left out), indices int64 into the flattened scores.
        label: what a score measures.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.2 * len(scores)), layout="constrained")
    for axes, (name, values) in zip(figure.subplots(len(scores), 1, squeeze=False)[:, 0], scores.items(), strict=True):
        flat = values.detach().flatten().float().cpu()
        order = flat.argsort(descending=True, stable=True)
        axes.plot(range(len(flat)), flat[order].numpy(), color="tab:blue")
        if name in chosen:
            ranks = order.argsort()[chosen[name].cpu()]
            axes.plot(ranks.numpy(), flat[order][ranks].numpy(), "o", color="tab:orange", markersize=4, label="chosen")
            axes.legend(fontsize=9)
        axes.set_title(f"{name}: {torch.count_nonzero(flat)} of {len(flat)} with a score", loc="left", fontsize=10)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    axes.set_xlabel("rank")
    return figure
