"""Pictures of what changed, as PNG bytes: both models' answers, and the inputs that changed sides."""

from collections.abc import Sequence
from typing import Literal

from PIL import Image, ImageDraw
from torch import Tensor

from study.data.module import DataModule
from study.tracking.drawing import GREY, HEAD, INK, MARGIN, PAPER, font, png, shortened
from study.tracking.matrices import confusion, repaired_pairs

THUMBNAIL, COLUMNS, CAPTION = 112, 6, 40
TITLES = {"fixed": "fixed (wrong before, right after)", "broken": "newly broken (right before, wrong after)"}


def pictures_of(data: DataModule, before: Tensor, after: Tensor) -> dict[str, bytes]:
    """PNGs of two models' answers on the test split, by name: `confusion`, `repaired_pairs`, and for images `fixed` and
    `broken`; those of which there is nothing to show are left out.

    Args:
        data: Loaded.
        before, after: Logits [N, C].
    """
    test = data.splits["test"]
    labels, names = test.labels.cpu(), data.class_names
    old, new = before.argmax(1).cpu(), after.argmax(1).cpu()
    drawn = {"confusion": confusion(old, new, labels, names)}
    if (old != labels).any() and (old != new).any():
        drawn["repaired_pairs"] = repaired_pairs(old, new, labels, names)
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
    draw.text((MARGIN, 18), title, INK, font(18))
    for place, index in enumerate(shown.tolist()):
        label, old, new = (class_names[int(classes[index])] for classes in (target, before, after))
        row, column = divmod(place, COLUMNS)
        x, y = MARGIN + column * step, HEAD + row * (step + CAPTION)
        picture.paste(_thumbnail(inputs[index]), (x, y))
        for line, (text, colour) in enumerate(((label, INK), (f"{old} → {new}", GREY))):
            draw.text((x, y + THUMBNAIL + 4 + 17 * line), shortened(text, step - 8, 13), colour, font(13))
    return png(picture)


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
