"""The IDX format of MNIST's files, plain or gzipped: torchvision's reader has no gzip and no clear errors."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from study.errors import UsageError

BYTES = 0x08
"""Type code of unsigned bytes."""


def find_idx(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, or else `name`.gz, or None."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def read_idx(path: Path, dimensions: int) -> Tensor:
    """The array in an IDX file of unsigned bytes with so many dimensions; raises UsageError for any other content."""
    try:
        content = _content(path)
    except (OSError, EOFError, zlib.error) as problem:
        raise UsageError(f"{path} cannot be read ({problem}); delete it and get it again") from problem
    start = 4 + 4 * dimensions
    if len(content) < start or content[:4] != bytes([0, 0, BYTES, dimensions]):
        raise UsageError(f"{path} is no IDX file of bytes with {dimensions} dimension(s); delete it and get it again")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise UsageError(
            f"{path} is damaged: it announces {math.prod(shape)} bytes of data and holds {len(content) - start}; "
            "delete it and get it again"
        )
    return torch.frombuffer(content, dtype=torch.uint8, offset=start).view(shape)


def _content(path: Path) -> bytearray:
    """The unpacked file in memory that a tensor may own, without a second copy of a plain file."""
    if path.suffix == ".gz":
        return bytearray(gzip.decompress(path.read_bytes()))
    content = bytearray(path.stat().st_size)
    with path.open("rb") as file:
        read = file.readinto(content)
    return content[:read] if read < len(content) else content
