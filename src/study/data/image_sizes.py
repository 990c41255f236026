"""How large the images in files are, from their headers alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from PIL import Image

from study.data.image_files import UNREADABLE, in_threads, unreadable
from study.errors import UsageError

SHOWN = 3
"""Sizes that a refusal names."""


def common_size(paths: Sequence[Path], where: str) -> tuple[int, int]:
    """Height and width in pixels of all the images; raises UsageError, which names `where`, if they differ."""
    sizes = in_threads(_size_of, paths, "look at the images")
    counts = Counter(sizes)
    if len(counts) == 1:
        return sizes[0]
    ranked = counts.most_common()
    usual, rarest = ranked[0][0], ranked[-1][0]
    named = ", ".join(f"{size[0]}x{size[1]} ({count:,})" for size, count in ranked[:SHOWN])
    more = f" and {len(ranked) - SHOWN} more" if len(ranked) > SHOWN else ""
    raise UsageError(
        f"{where}: its images are of {len(counts)} sizes, height x width {named}{more}, the rarest of them "
        f"{paths[sizes.index(rarest)]}: set dataset.size, for example to {_typed(*usual)}, to resize them; "
        "a network that is trained already takes the size that it was trained on"
    )


def _typed(height: int, width: int) -> str:
    return str(height) if height == width else f"[{height},{width}]"


def _size_of(path: Path) -> tuple[int, int]:
    try:
        return _header(path, path.stat().st_mtime_ns)
    except OSError as problem:
        raise unreadable(path, problem) from problem


@lru_cache(maxsize=2**20)
def _header(path: Path, changed: int) -> tuple[int, int]:
    """Height and width of an image; kept, as every job of a sweep asks for them."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except UNREADABLE as problem:
        raise unreadable(path, problem) from problem
