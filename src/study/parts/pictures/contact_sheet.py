"""Contact sheets: rows of small images, each row with a caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP = 2
"""White pixels between images."""


def contact_sheet(title: str, rows: Sequence[tuple[str, Tensor]]) -> Figure:
    """A figure of at least one row: a caption and images [M, C, H, W] in [0, 1], C = 1 or 3, M may differ by row."""
    from matplotlib.figure import Figure

    columns = max(len(images) for _, images in rows)
    sheet = torch.cat([_strip(images, columns) for _, images in rows])
    height, width = sheet.shape[:2]
    figure = Figure(figsize=(0.6 * columns + 2, 0.6 * columns * height / width + 0.6), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(sheet.cpu().numpy(), interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    each = height / len(rows)
    axes.set_yticks([each * (row + 0.5) for row in range(len(rows))], [caption for caption, _ in rows], fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _strip(images: Tensor, columns: int) -> Tensor:
    """`images` side by side, and white up to `columns` of them: [H + GAP, columns * (W + GAP), 3]."""
    colour = images.detach().float().clamp(0, 1).expand(-1, 3, -1, -1) if images.shape[1] == 1 else images[:, :3]
    count, _, height, width = images.shape
    strip = torch.ones(columns, 3, height + GAP, width + GAP)
    strip[:count, :, :height, :width] = colour
    return strip.permute(2, 0, 3, 1).flatten(1, 2)
