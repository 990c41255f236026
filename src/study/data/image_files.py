"""Images in files: decoded with Pillow, many at a time, when they are asked for."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from study.data.transforms import Preprocessing
from study.errors import UsageError
from study.runtime.progress import Progress

THREADS = 8
LARGEST = 64
"""Files that a thread takes at a time, at most."""
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)
"""What Pillow's decoders raise for files that are damaged or no images."""

Given = TypeVar("Given")
Got = TypeVar("Got")


@dataclass(frozen=True)
class Reading:
    """How a file becomes an input of a shape [C, H, W].

    channels: 1, converted to grey, or 3, to RGB; preprocessing: what is then done with the image, None: it is resized
    (bilinear) to the height and width of the shape.
    """

    shape: tuple[int, int, int]
    channels: int
    preprocessing: Preprocessing | None = None

    def input_of(self, path: Path) -> Tensor:
        """[C, H, W], uint8 from 0 to 255, or float32 in [0, 1] with a `preprocessing`; raises UsageError."""
        image = opened(path, self.channels)
        if self.preprocessing is None:
            return _resized(image, self.shape[1:])
        try:
            made = self.preprocessing(image)
        except UsageError as problem:
            raise UsageError(f"dataset.transform: for {path} it {problem}") from problem
        if tuple(made.shape) != self.shape:
            raise UsageError(
                f"dataset.transform: it makes {_times(made.shape)} of {path} and {_times(self.shape)} of the first "
                "image; all have to be of one shape: let it resize or crop to a height and a width"
            )
        return made


def opened(path: Path, channels: int) -> Image.Image:
    """The image in a file, 8 bits, grey (1 channel) or RGB (3); raises UsageError for a file that cannot be read."""
    try:
        with Image.open(path) as image:
            return eight_bit(image).convert("L" if channels == 1 else "RGB")
    except UNREADABLE as problem:
        raise unreadable(path, problem) from problem


def unreadable(path: Path, problem: Exception) -> UsageError:
    """The refusal of a file that Pillow cannot read."""
    return UsageError(f"{path} cannot be read as an image ({problem}); repair it or take it away")


def in_threads(work: Callable[[Given], Got], items: Sequence[Given], title: str) -> list[Got]:
    """The results of `work` on each item, in order; `title` says what is done, for whoever waits."""
    results: list[Got] = []
    size = max(1, min(LARGEST, len(items) // (4 * THREADS)))  # handing over one by one would take longer than a header
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    with ThreadPoolExecutor(THREADS) as pool, Progress(title, len(items), "files") as progress:
        for part in pool.map(lambda part: [work(item) for item in part], parts):
            results += part
            progress.advance(len(part))
    return results


def eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits, where Pillow's own conversion would clip it; other images as they are.

    Raises ValueError for floating-point pixels.
    """
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image).clip(0, 2**16 - 1) // 256).astype(np.uint8))


def _resized(image: Image.Image, size: tuple[int, int]) -> Tensor:
    """[C, H, W] uint8."""
    if image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1)


def decoded(paths: Sequence[Path], reading: Reading) -> Tensor:
    """The images of many files, [N, C, H, W] uint8 from 0 to 255, for a reading without `preprocessing`.

    Those asked for last are kept, as every job of a sweep asks for them: do not write into them.
    Raises UsageError for an unreadable file.
    """
    return _decoded(tuple(map(_stamped, paths)), reading)


@lru_cache(maxsize=1)
def _decoded(files: tuple[tuple[Path, int, int], ...], reading: Reading) -> Tensor:
    """As `decoded`, of paths with what changes when a file does."""
    pixels = torch.empty((len(files), *reading.shape), dtype=torch.uint8)

    def read(job: tuple[int, tuple[Path, int, int]]) -> None:
        pixels[job[0]] = reading.input_of(job[1][0])

    in_threads(read, list(enumerate(files)), "read the images")
    return pixels


def _stamped(path: Path) -> tuple[Path, int, int]:
    try:
        status = path.stat()
    except OSError as problem:
        raise unreadable(path, problem) from problem
    return path, status.st_mtime_ns, status.st_size


class ImageFiles:
    """Inputs of a split that lie in image files, one file an item."""

    def __init__(self, paths: Sequence[Path], reading: Reading) -> None:
        self.paths = paths
        self.reading = reading

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: Tensor) -> Tensor:
        """The images at `indices` [M] as float32 in [0, 1], [M, C, H, W]; raises UsageError for an unreadable file."""
        bytes_suffice = self.reading.preprocessing is None
        pixels = torch.empty((len(indices), *self.reading.shape), dtype=torch.uint8 if bytes_suffice else torch.float32)

        def read(job: tuple[int, int]) -> None:
            pixels[job[0]] = self.reading.input_of(self.paths[job[1]])

        in_threads(read, list(enumerate(indices.tolist())), "read the images")
        return pixels.float().div_(255) if bytes_suffice else pixels


@dataclass(frozen=True)
class FileSource:
    """All items of a data set that lies in image files; see `study.data.source.Source`."""

    paths: Sequence[Path]
    labels: Tensor
    reading: Reading
    groups: Tensor | None = None

    def take(self, indices: Tensor) -> ImageFiles:
        """The images at `indices` [M], none of them read yet."""
        return ImageFiles([self.paths[index] for index in indices.tolist()], self.reading)

    def digest(self, indices: Tensor) -> str:
        """Hash of the labels and the content of the files at `indices` [M]."""
        digest = hashlib.sha256(self.labels[indices].numpy().data)
        for one in in_threads(_hash_of, [self.paths[index] for index in indices.tolist()], "hash the files"):
            digest.update(one)
        return digest.hexdigest()


def _hash_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as problem:
        raise UsageError(f"{path} cannot be read ({problem.strerror})") from problem


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
