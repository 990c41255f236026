"""Tables of labels by answers as PNG bytes: both models' answers, and which failing inputs were repaired."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from study.tracking.drawing import GREY, HEAD, INK, MARGIN, PAPER, font, png, shortened

RIGHT, WRONG = (33, 113, 181), (203, 24, 29)
"""Colours of what is right and of errors, each fading to white."""
CELL = 40
NUMBERED = 30
"""Classes up to which each cell carries its number; beyond that the pattern is all that can be seen."""


class _Panel:
    """Where one square table is drawn: classes by classes cells below a title.

    cell: pixels of a cell; left: of the names before it.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.cell = CELL if len(class_names) <= NUMBERED else max(2, 800 // len(class_names))
        self.names = [shortened(name, 90, 13) for name in class_names]
        self.left = MARGIN
        if self.cell == CELL:
            self.left += max(round(font(13).getlength(name)) for name in self.names) + 10
        self.side = self.cell * len(self.names)
        self.size = (self.left + self.side + 2, HEAD + self.side + self.left + MARGIN)

    def drawn(
        self,
        strength: NDArray[np.float64],
        colour: NDArray[np.int64],
        texts: Mapping[tuple[int, int], str],
        title: str,
        axes: str,
    ) -> Image.Image:
        """Cells of a colour [C, C, 3], which fades to white with strength [C, C] in [0, 1], and the texts in them.

        title, axes: written above; the picture is as wide as they need.
        """
        width = self.left + round(max(font(18).getlength(title), font(13).getlength(axes))) + MARGIN
        panel = Image.new("RGB", (max(self.size[0], width), self.size[1]), PAPER)
        cells = (255 - strength[..., None] * (255 - colour)).astype(np.uint8)
        image = Image.fromarray(cells).resize((self.side,) * 2, Image.Resampling.NEAREST)
        panel.paste(image, (self.left, HEAD))
        draw = ImageDraw.Draw(panel)
        draw.rectangle((self.left - 1, HEAD - 1, self.left + self.side, HEAD + self.side), outline="#c8c8c8")
        draw.text((self.left, 12), title, INK, font(18))
        draw.text((self.left, 38), axes, GREY, font(13))
        if self.cell == CELL:
            self._write(panel, strength, texts)
        return panel

    def _write(self, panel: Image.Image, strength: NDArray[np.float64], texts: Mapping[tuple[int, int], str]) -> None:
        draw = ImageDraw.Draw(panel)
        level = all(font(13).getlength(name) <= CELL - 4 for name in self.names)
        for place, name in enumerate(self.names):
            middle = place * CELL + CELL // 2
            draw.text((self.left - 8, HEAD + middle), name, INK, font(13), anchor="rm")
            _draw_below(panel, name, self.left + middle, HEAD + self.side + 6, level=level)
        for (row, column), text in texts.items():
            ink = PAPER if strength[row, column] > 0.6 else INK
            centre = (self.left + column * CELL + CELL // 2, HEAD + row * CELL + CELL // 2)
            draw.text(centre, text, ink, font(13 if len(text) < 6 else 10), anchor="mm")


def confusion(before: Tensor, after: Tensor, target: Tensor, class_names: Sequence[str]) -> bytes:
    """Two confusion matrices side by side: rows are labels, columns predictions, each row shaded by its share.

    Args:
        before, after: Predicted classes [N], integer.
        target: Labels [N], integer.
        class_names: One per class.

    Returns:
        A PNG.
    """
    panel, drawn = _Panel(class_names), []
    for title, predicted in (("before", before), ("after", after)):
        counts = counted(predicted, target, len(class_names))
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        colour = np.where(np.eye(len(class_names), dtype=bool)[..., None], RIGHT, WRONG)
        texts = {(int(row), int(answer)): str(counts[row, answer]) for row, answer in np.argwhere(counts)}
        told = f"{title}: {int(np.trace(counts))} of {counts.sum()} right"
        # The square root lifts the few errors of a good classifier out of the white.
        drawn.append(panel.drawn(np.sqrt(shares), colour, texts, told, "rows: label, columns: prediction"))
    picture = Image.new("RGB", (sum(part.width for part in drawn), drawn[0].height), PAPER)
    picture.paste(drawn[0], (0, 0))
    picture.paste(drawn[1], (drawn[0].width, 0))
    return png(picture)


def repaired_pairs(before: Tensor, after: Tensor, target: Tensor, class_names: Sequence[str]) -> bytes:
    """Of the faulty model's errors, how many are repaired: rows are labels, columns its answers.

    A cell is the bluer the larger the repaired share, the redder the smaller.

    Args:
        before, after: Predicted classes [N], integer.
        target: Labels [N], integer.
        class_names: One per class.

    Returns:
        A PNG.
    """
    panel, wrong = _Panel(class_names), before != target
    failing = counted(before[wrong], target[wrong], len(class_names))
    fixed = wrong & (after == target)
    repaired = counted(before[fixed], target[fixed], len(class_names))
    share = repaired / np.maximum(failing, 1)
    # A half is white, none and all are full.
    strength = np.where(failing > 0, np.abs(2 * share - 1), 0.0) * 0.8
    colour = np.where((share > 0.5)[..., None], RIGHT, WRONG)
    texts = {(int(row), int(answer)): f"{repaired[row, answer]}/{failing[row, answer]}"
             for row, answer in np.argwhere(failing)}  # fmt: skip
    title = f"repaired: {repaired.sum()} of {failing.sum()} failing inputs"
    return png(panel.drawn(strength, colour, texts, title, "rows: label, columns: prediction before"))


def counted(predicted: Tensor, target: Tensor, classes: int) -> NDArray[np.int64]:
    """How often each label [row] got each answer [column]: [C, C] of N integers."""
    flat = torch.bincount(target.cpu() * classes + predicted.cpu(), minlength=classes**2)
    return flat.reshape(classes, classes).numpy()


def _draw_below(panel: Image.Image, name: str, middle: int, top: int, *, level: bool) -> None:
    """A column's name, level or turned by a quarter."""
    width = round(font(13).getlength(name))
    if level:
        ImageDraw.Draw(panel).text((middle, top), name, INK, font(13), anchor="mt")
        return
    label = Image.new("RGB", (width, 18), PAPER)
    ImageDraw.Draw(label).text((0, 9), name, INK, font(13), anchor="lm")
    panel.paste(label.transpose(Image.Transpose.ROTATE_90), (middle - 9, top))
