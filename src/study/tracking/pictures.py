"""Pictures of what changed, as PNG bytes: confusion matrices before and after, and the inputs that changed sides.

Drawn with Pillow alone: a tenth of the time of a plotting library, which matters where a job takes seconds.
"""

import io
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from study.data.module import DataModule
from study.errors import printable

INK, PAPER, GREY = "#1a1a1a", "#ffffff", "#6b6b6b"
RIGHT, WRONG = (33, 113, 181), (203, 24, 29)
"""Colours of the diagonal and of the errors, each fading to white."""
CELL, MARGIN, HEAD = 40, 24, 64
NUMBERED = 30
"""Classes up to which each cell carries its number; beyond that the pattern is all that can be seen."""
THUMBNAIL, COLUMNS, CAPTION = 112, 6, 40
TITLES = {"fixed": "fixed (wrong before, right after)", "broken": "newly broken (right before, wrong after)"}


def pictures_of(data: DataModule, before: Tensor, after: Tensor) -> dict[str, bytes]:
    """PNGs of two models' answers on the test split, by name: `confusion`, and for images `fixed` and `broken`.

    Args:
        data: Loaded.
        before, after: Logits [N, C].
    """
    test = data.splits["test"]
    labels, names = test.labels.cpu(), data.class_names
    old, new = before.argmax(1).cpu(), after.argmax(1).cpu()
    drawn = {"confusion": confusion(old, new, labels, names)}
    if data.kind != "image":
        return drawn
    changed: dict[Literal["fixed", "broken"], Tensor] = {
        "fixed": (old != labels) & (new == labels),
        "broken": (old == labels) & (new != labels),
    }
    for which, chosen in changed.items():
        places = chosen.nonzero().flatten()
        if len(places):
            inputs = test.fetch(places).inputs.cpu()
            drawn[which] = gallery(inputs, labels[places], old[places], new[places], names, which=which)
    return drawn


def confusion(before: Tensor, after: Tensor, target: Tensor, class_names: Sequence[str]) -> bytes:
    """Two confusion matrices side by side: rows are labels, columns predictions, each row shaded by its share.

    Args:
        before, after: Predicted classes [N], integer.
        target: Labels [N], integer.
        class_names: One per class.

    Returns:
        A PNG.
    """
    cell = CELL if len(class_names) <= NUMBERED else max(2, 800 // len(class_names))
    names = [_shortened(name, 90, 13) for name in class_names]
    left = MARGIN + (max(round(_font(13).getlength(name)) for name in names) + 10 if cell == CELL else 0)
    side = cell * len(names)
    picture = Image.new("RGB", (2 * (left + side) + MARGIN, HEAD + side + left + MARGIN), PAPER)
    for column, (title, predicted) in enumerate((("before", before), ("after", after))):
        counts = _counts(predicted, target, len(names))
        panel = Image.new("RGB", (left + side + 2, picture.height), PAPER)
        _draw_matrix(panel, counts, names, cell, left, title)
        picture.paste(panel, (column * (left + side), 0))
    return _png(picture)


def gallery(
    inputs: Tensor,
    target: Tensor,
    before: Tensor,
    after: Tensor,
    class_names: Sequence[str],
    which: Literal["fixed", "broken"] = "fixed",
    limit: int = 24,
) -> bytes:
    """Inputs that were wrong before and are right afterwards (`fixed`), or the reverse (`broken`), with both answers.

    Args:
        inputs: Images [N, C, H, W] in [0, 1], C = 1 or 3 (of other channels the first is shown).
        target, before, after: Labels and predicted classes [N], integer.
        class_names: One per class.
        which: Which of the inputs are shown.
        limit: How many at most, the first ones.

    Returns:
        A PNG; one line of text if there is no such input.
    """
    was_right, is_right = before == target, after == target
    chosen = (~was_right & is_right) if which == "fixed" else (was_right & ~is_right)
    places = chosen.nonzero().flatten()
    shown = places[:limit]
    title = TITLES[which] + (f": the first {limit} of {len(places)}" if len(places) > limit else "")
    rows = -(-len(shown) // COLUMNS)
    step = THUMBNAIL + MARGIN
    picture = Image.new("RGB", (MARGIN + COLUMNS * step, HEAD + rows * (step + CAPTION)), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, 18), title, INK, _font(18))
    for place, index in enumerate(shown.tolist()):
        label, old, new = (class_names[int(classes[index])] for classes in (target, before, after))
        row, column = divmod(place, COLUMNS)
        x, y = MARGIN + column * step, HEAD + row * (step + CAPTION)
        picture.paste(_thumbnail(inputs[index]), (x, y))
        for line, (text, colour) in enumerate(((label, INK), (f"{old} → {new}", GREY))):
            draw.text((x, y + THUMBNAIL + 4 + 17 * line), _shortened(text, step - 8, 13), colour, _font(13))
    return _png(picture)


def _counts(predicted: Tensor, target: Tensor, classes: int) -> NDArray[np.int64]:
    """How often each label [row] got each answer [column]."""
    flat = torch.bincount(target.cpu() * classes + predicted.cpu(), minlength=classes**2)
    return flat.reshape(classes, classes).numpy()


def _draw_matrix(
    panel: Image.Image, counts: NDArray[np.int64], names: Sequence[str], cell: int, left: int, title: str
) -> None:
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    # The square root lifts the few errors of a good classifier out of the white.
    strength = np.sqrt(shares)[..., None]
    colour = np.where(np.eye(len(names), dtype=bool)[..., None], RIGHT, WRONG)
    cells = (255 - strength * (255 - colour)).astype(np.uint8)
    image = Image.fromarray(cells).resize((cell * len(names),) * 2, Image.Resampling.NEAREST)
    panel.paste(image, (left, HEAD))
    draw = ImageDraw.Draw(panel)
    draw.rectangle((left - 1, HEAD - 1, left + image.width, HEAD + image.height), outline="#c8c8c8")
    right = int(np.trace(counts))
    draw.text((left, 12), f"{title}: {right} of {counts.sum()} right", INK, _font(18))
    draw.text((left, 38), "rows: label, columns: prediction", GREY, _font(13))
    if cell != CELL:
        return
    for row, name in enumerate(names):
        middle = HEAD + row * cell + cell // 2
        draw.text((left - 8, middle), name, INK, _font(13), anchor="rm")
        _draw_below(panel, name, left + row * cell + cell // 2, HEAD + cell * len(names) + 6)
        for column in np.flatnonzero(counts[row]).tolist():
            ink = PAPER if strength[row, column, 0] > 0.6 else INK
            place = (left + column * cell + cell // 2, middle)
            draw.text(place, str(counts[row, column]), ink, _font(13), anchor="mm")


def _draw_below(panel: Image.Image, name: str, middle: int, top: int) -> None:
    """A column's name: level if it fits over its column, otherwise turned by a quarter."""
    width = round(_font(13).getlength(name))
    if width <= CELL - 4:
        ImageDraw.Draw(panel).text((middle, top), name, INK, _font(13), anchor="mt")
        return
    label = Image.new("RGB", (width, 18), PAPER)
    ImageDraw.Draw(label).text((0, 9), name, INK, _font(13), anchor="lm")
    panel.paste(label.transpose(Image.Transpose.ROTATE_90), (middle - 9, top))


def _thumbnail(image: Tensor) -> Image.Image:
    """[C, H, W] in [0, 1], fitted into a square on light grey; small images are enlarged in hard pixels."""
    pixels = (image.detach().float().clamp(0, 1) * 255).round().byte().cpu()
    shown = pixels.permute(1, 2, 0).numpy() if len(pixels) == 3 else pixels[0].numpy()
    scale = THUMBNAIL / max(shown.shape[:2])
    size = (max(1, round(shown.shape[1] * scale)), max(1, round(shown.shape[0] * scale)))
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BICUBIC
    square = Image.new("RGB", (THUMBNAIL, THUMBNAIL), "#e6e6e6")
    square.paste(Image.fromarray(shown).resize(size, method).convert("RGB"), ((THUMBNAIL - size[0]) // 2, 0))
    return square


def _shortened(text: str, width: int, size: int) -> str:
    """The text on one line, with an ellipsis where it is wider than `width` pixels."""
    text = printable(text)
    if _font(size).getlength(text) <= width:
        return text
    while text and _font(size).getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which travels with matplotlib, for class names in other alphabets and arrows."""
    found = find_spec("matplotlib")
    assert found is not None and found.origin is not None
    return ImageFont.truetype(Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf", size)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
