"""Images in files: decoded with Pillow, many at a time, when they are asked for."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from study.errors import UsageError

THREADS = 8
PATIENCE = 2.0
"""Seconds after which a progress bar appears, on a terminal."""

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)
"""What Pillow's decoders raise for files that are damaged or no images."""


def decoded(path: Path, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """The image in a file, converted to grey (1 channel) or RGB (3) and resized (bilinear) to `size` (height, width).

    Returns [C, H, W] from 0 to 255; raises UsageError for a file that cannot be read.
    """
    try:
        with Image.open(path) as image:
            converted = _eight_bit(image).convert("L" if channels == 1 else "RGB")
    except UNREADABLE as problem:
        raise UsageError(f"{path} cannot be read as an image ({problem}); repair it or take it away") from problem
    if converted.size != size[::-1]:
        converted = converted.resize(size[::-1], Image.Resampling.BILINEAR)
    pixels = np.asarray(converted)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits, where Pillow's own conversion would clip it; other images as they are."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image).clip(0, 2**16 - 1) // 256).astype(np.uint8))


class ImageFiles:
    """Inputs of a split that lie in image files, one file an item."""

    def __init__(self, paths: Sequence[Path], size: tuple[int, int], channels: int) -> None:
        self.paths = paths
        self.size = size
        self.channels = channels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: Tensor) -> Tensor:
        """The images at `indices` [M] as float32 in [0, 1], [M, C, H, W]; raises UsageError for an unreadable file."""
        pixels = torch.empty((len(indices), self.channels, *self.size), dtype=torch.uint8)
        into = pixels.numpy()

        def decode(job: tuple[int, int]) -> None:
            into[job[0]] = decoded(self.paths[job[1]], self.size, self.channels)

        with ThreadPoolExecutor(THREADS) as pool:
            jobs = pool.map(decode, enumerate(indices.tolist()))
            for _ in tqdm(jobs, "reading images", len(indices), leave=False, delay=PATIENCE, disable=None):
                pass
        return pixels.float().div_(255)


@dataclass(frozen=True)
class FileSource:
    """All items of a data set that lies in image files; see `study.data.source.Source`."""

    paths: Sequence[Path]
    labels: Tensor
    size: tuple[int, int]
    channels: int
    groups: Tensor | None = None

    def take(self, indices: Tensor) -> ImageFiles:
        """The images at `indices` [M], none of them read yet."""
        return ImageFiles([self.paths[index] for index in indices.tolist()], self.size, self.channels)

    def digest(self, indices: Tensor) -> str:
        """Hash of the labels and the content of the files at `indices` [M]."""
        digest = hashlib.sha256(self.labels[indices].numpy().data)
        chosen = [self.paths[index] for index in indices.tolist()]
        with ThreadPoolExecutor(THREADS) as pool:
            hashes = pool.map(_hash_of, chosen)
            for one in tqdm(hashes, "hashing files", len(chosen), leave=False, delay=PATIENCE, disable=None):
                digest.update(one)
        return digest.hexdigest()


def _hash_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as problem:
        raise UsageError(f"{path} cannot be read ({problem.strerror})") from problem
