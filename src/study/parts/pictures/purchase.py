"""Pictures of the labels that were bought from a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from study.parts.pictures.contact_sheet import contact_sheet
from study.parts.selection.label_budget import Purchase

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 12
"""Rows of a picture, and inputs in each."""


def purchase_sheets(images: Tensor, purchase: Purchase, labels: Tensor) -> dict[str, Figure]:
    """`bought`: the inputs whose label was bought, by label; `clusters`: all that one label is for, its centre first.

    Args:
        images: [n, C, H, W], the pool.
        labels: [n], known at least where they were bought.
    """
    bought, known = purchase.bought, labels[purchase.bought]
    by_label = [(int(label), bought[known == label]) for label in known.unique()]
    clusters = [(int(known[row]), purchase.recipients(row)) for row in range(min(SHOWN, len(bought)))]
    return {
        "bought": contact_sheet(
            f"{len(bought)} labels bought, by label",
            [(f"label {label}, {len(indices)} inputs", images[indices[:SHOWN]]) for label, indices in by_label],
        ),
        "clusters": contact_sheet(
            "The first input's label was bought for its whole cluster",
            [(f"label {label}, for {len(indices)}", images[indices[:SHOWN]]) for label, indices in clusters],
        ),
    }
