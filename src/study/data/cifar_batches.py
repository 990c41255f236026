"""The batch files of CIFAR-10: Python's pickle format, of which no more is admitted than these files hold."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from study.errors import UsageError

SHAPE = (3, 32, 32)
_REBUILD: Any = np.empty(0).__reduce__()[0]
_FROM_BUFFER: Any = np.empty(1).__reduce_ex__(5)[0]
ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _REBUILD for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _FROM_BUFFER for core in ("core", "_core")},
    ("_codecs", "encode"): lambda text, encoding: str(text).encode("latin1"),
}
"""What a pickled array is made with, under the names that NumPy and Python 2 and 3 have given it; none runs code."""


class _ArraysAlone(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, and arrays, lists and texts are all it may hold"
            )
        return ADMITTED[module, name]


def read_batch(path: Path, classes: int) -> tuple[Tensor, Tensor]:
    """The images [N, 3, 32, 32] uint8 and the labels [N] int64, below `classes`, of a batch file.

    Raises:
        UsageError: The file is missing, damaged, holds something else, or would run code.
    """
    content = _unpickled(path)
    data, labels = content.get("data"), content.get("labels")
    if not isinstance(data, np.ndarray) or not isinstance(labels, list | np.ndarray):
        raise UsageError(f"{path} is no batch of CIFAR-10: it holds no arrays data and labels; get it again")
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * 32 * 32:
        shape = "x".join(map(str, data.shape))
        raise UsageError(f"{path}: data is {data.dtype} of shape {shape}; CIFAR-10 has bytes, 3072 of each image")
    if len(labels) != len(data) or len(data) == 0:
        raise UsageError(f"{path} holds {len(data)} images and {len(labels)} labels; there is one for each image")
    if not all(isinstance(label, int | np.integer) and 0 <= label < classes for label in labels):
        raise UsageError(f"{path}: labels are numbers from 0 to {classes - 1}, and it holds others")
    return torch.from_numpy(data.copy()).view(-1, *SHAPE), torch.tensor([int(label) for label in labels])


def _unpickled(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = _ArraysAlone(file, encoding="latin1").load()
    except Exception as problem:  # a damaged pickle raises whatever its instructions meet first
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise UsageError(f"{path} cannot be read as a batch of CIFAR-10 ({reason}); get it again") from problem
    if not isinstance(content, dict):
        raise UsageError(f"{path} is no batch of CIFAR-10: it holds no arrays data and labels; get it again")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in content.items()}
