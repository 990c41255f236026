"""Values of items, whatever type they are kept in: inputs as tensors, labels and groups as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from study.data.image_files import eight_bit
from study.errors import UsageError

NUMERIC = "iufb"
"""Kinds of arrays that hold numbers or truth values."""
NAMING = "; number them from 0 (study.Data(classes=...) takes the names of the classes)"
"""What to do about labels that are text."""


def tensor_of(value: Any, where: str) -> Tensor:
    """An input as a tensor; a picture as uint8 [C, H, W]. Raises UsageError, which `where` begins, for what is none."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Image.Image):
        return _pixels(value, where)
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"{where}: an input is {type(value).__name__}, not a tensor of numbers or a picture"
        ) from error


def number_of(value: Any, where: str) -> float:
    """A label or a group as a number, which need not be whole; raises UsageError, which `where` begins, for others."""
    if isinstance(value, (int, float)):
        return value
    array = _array(value, where, NAMING)
    if array.size != 1:
        raise UsageError(f"{where} hold {array.size} values for an input; it takes one number (one-hot labels: argmax)")
    number: float = array.item()
    return number


def column_of(values: Any, where: str, remedy: str = "") -> Tensor:
    """A whole column of items, [N, ...], as a tensor.

    Raises UsageError, which `where` begins and `remedy` ends, where it holds other than numbers.
    """
    if isinstance(values, Tensor):
        return values
    array = np.ascontiguousarray(_array(values, where, remedy))
    return torch.as_tensor(array.astype(array.dtype.newbyteorder("="), copy=False))


def _pixels(picture: Image.Image, where: str) -> Tensor:
    try:
        image = eight_bit(picture)
    except ValueError as reason:
        raise UsageError(f"{where}: a picture of mode {picture.mode} cannot be used ({reason})") from reason
    pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    return torch.as_tensor(pixels.copy()).permute(2, 0, 1) if pixels.ndim == 3 else torch.tensor(pixels)[None]


def _array(values: Any, where: str, remedy: str) -> NDArray[Any]:
    """Numbers, one or many, as an array."""
    try:
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where} are no column of numbers: {error}{remedy}") from error
    if array.dtype.kind not in NUMERIC:
        among = f" ({array.ravel().tolist()[0]!r} is among them)" if array.size else ""
        raise UsageError(f"{where} are no numbers{among}{remedy}")
    return array
