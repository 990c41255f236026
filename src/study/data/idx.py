"""The IDX format of MNIST's files, plain or gzipped: torchvision's reader has no gzip and no clear errors."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path

import torch
from torch import Tensor

from study.errors import UsageError

BYTES = 0x08
"""Type code of unsigned bytes."""
MOST = 2**30
"""Bytes of data in a file; MNIST's largest has 47 million."""


def find_idx(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, or else `name`.gz, or None."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def read_idx(path: Path, dimensions: int) -> Tensor:
    """The array in an IDX file of unsigned bytes with so many dimensions; raises UsageError for any other content."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            shape = _shape(file, dimensions, path)
            content = bytearray(math.prod(shape))
            read = file.readinto(content) + len(file.read(1))  # no more of what a damaged archive unpacks to
    except (OSError, EOFError, zlib.error) as problem:
        raise UsageError(f"{path} cannot be read ({problem}); delete it and get it again") from problem
    if read != len(content):
        held = f"{read}" if read < len(content) else "more"
        raise UsageError(
            f"{path} is damaged: it announces {len(content)} bytes of data and holds {held}; delete it and get it again"
        )
    return torch.frombuffer(content, dtype=torch.uint8).view(shape) if content else torch.empty(shape).byte()


def _shape(file: BufferedIOBase, dimensions: int, path: Path) -> tuple[int, ...]:
    """The shape that the head of a file announces."""
    head = file.read(4 + 4 * dimensions)
    if len(head) < 4 + 4 * dimensions or head[:4] != bytes([0, 0, BYTES, dimensions]):
        raise UsageError(f"{path} is no IDX file of bytes with {dimensions} dimension(s); delete it and get it again")
    shape = struct.unpack(f">{dimensions}I", head[4:])
    if math.prod(shape) > MOST:
        raise UsageError(
            f"{path} announces {math.prod(shape):,} bytes of data, and no more than {MOST:,} are read; "
            "delete it and get it again"
        )
    return shape
