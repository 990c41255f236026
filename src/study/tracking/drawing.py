"""What all pictures of a job share: colours, the font, PNG.

Drawn with Pillow alone: a tenth of the time of a plotting library, which matters where a job takes seconds.
"""

import io
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageFont

from study.errors import printable

INK, PAPER, GREY = "#1a1a1a", "#ffffff", "#6b6b6b"
MARGIN, HEAD = 24, 64


def shortened(text: str, width: int, size: int) -> str:
    """The text on one line, with an ellipsis where it is wider than `width` pixels."""
    text = printable(text)
    if font(size).getlength(text) <= width:
        return text
    while text and font(size).getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which travels with matplotlib, for class names in other alphabets and arrows."""
    found = find_spec("matplotlib")
    assert found is not None and found.origin is not None
    return ImageFont.truetype(Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf", size)


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
