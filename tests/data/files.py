"""Small data sets in files."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STEMS = {"train": 60, "t10k": 20}


def idx(array: NDArray[np.uint8]) -> bytes:
    """An array in IDX format."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(folder: Path, *, packed: bool = False, size: int = 28) -> Path:
    """60 training and 20 test images; the i-th image has the value i (test: 100 + i) all over and the label i % 10."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, count in STEMS.items():
        values = np.arange(count, dtype=np.uint8) + (100 if stem == "t10k" else 0)
        images = np.broadcast_to(values[:, None, None], (count, size, size))
        for name, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", values % 10)):
            content = idx(np.ascontiguousarray(array))
            path = folder / f"{stem}-{name}{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)
    return folder


def write_images(folder: Path, classes: dict[str, int], *, first: int = 0) -> Path:
    """PNG files in class folders; the i-th image written has the value first + i all over, sizes and modes vary."""
    value = first
    for name, count in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            side = 8 + 4 * (number % 3)
            grey = Image.new("L", (side, side + number % 2), value)
            grey.convert(("L", "RGB", "RGBA", "P")[number % 4]).save(folder / name / f"{number:03}.png")
            value += 1
    return folder


def write_photos(folder: Path, classes: dict[str, int], *, side: int = 32, seed: int = 0) -> Path:
    """Noisy RGB pictures of one size in class folders; each class has a brightness of its own."""
    draws = np.random.default_rng(seed)
    for place, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            level = 80 + 60 * place / max(1, len(classes) - 1)
            pixels = draws.normal(level, 60, (side, side, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:03}.png")
    return folder
