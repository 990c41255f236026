"""Weights that come from outside: a user's checkpoint, read without pickle."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from study.errors import UsageError
from study.storage.paths import check_file

FOREIGN = re.compile(r"GLOBAL ([\w.]+)")
"""The object in a pickle that torch does not open."""
NAMED = 6
"""Keys of a file without weights that a refusal names at most."""
STORE = "store it by torch.save(model.state_dict(), FILE)"


def load_checkpoint(path: Path, setting: str = "faulty.checkpoint") -> dict[str, Tensor]:
    """A state dict of ordinary tensors from a safetensors or a plain torch file.

    A checkpoint that holds more is unwrapped: its `state_dict` (as Lightning calls it), or else the one state dict in
    it, whatever its name. A pickle that would run code is refused, not run.
    setting: what names the file, for a refusal.

    Raises:
        UsageError: There is nothing usable; of a tensor that is not an ordinary one, its name.
    """
    check_file(path, setting)
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _plain(path)
    except Exception as error:  # a foreign file: torch and safetensors raise a dozen kinds
        raise UsageError(
            f"{setting}={path}: neither a safetensors file nor a plain state dict "
            f"(pickles that could run code are not opened): {_reason(error)}"
        ) from error
    state = _state_in(content, f"{setting}={path}")
    for name, tensor in state.items():
        if kind := _extraordinary(tensor):
            raise UsageError(f"{setting}={path}: {name} {kind}")
    return state


def unfit(tensor: Tensor, expected: Tensor) -> str:
    """Why a checkpoint's tensor cannot stand for the architecture's: `is ...`; empty if it can."""
    if tensor.shape != expected.shape:
        return f"is {_shape(tensor)} in the file and {_shape(expected)} in the architecture"
    kind, wanted = _kind(tensor), _kind(expected)
    if kind != wanted:
        return f"is {kind} ({_name(tensor.dtype)}) in the file and {wanted} in the architecture"
    return ""


def not_finite(tensor: Tensor, expected: Tensor) -> str:
    """What a fitting tensor holds beside numbers, as the architecture would hold it; empty for numbers alone."""
    converted = tensor.to(expected.dtype)
    if bool(converted.isfinite().all()):
        return ""
    return "NaN (not a number)" if bool(converted.isnan().any()) else f"infinity, as {_name(expected.dtype)}"


def _plain(path: Path) -> Any:
    with warnings.catch_warnings():  # torch's are about how to open more than we do
        warnings.simplefilter("ignore")
        return torch.load(path, "cpu", weights_only=True)


def _state_in(content: Any, where: str) -> dict[str, Tensor]:
    """What a file holds, if that is a state dict, or the one in it; raises UsageError without one, or with several."""
    if _is_state(content):
        return dict(content)
    held = content if isinstance(content, dict) else {}
    states = {str(name): dict(value) for name, value in held.items() if _is_state(value)}
    if "state_dict" in states:
        return states["state_dict"]
    if len(states) > 1:
        raise UsageError(
            f"{where}: holds several state dicts ({', '.join(states)}); store the one that is meant, as in "
            f"torch.save(checkpoint[{next(iter(states))!r}], FILE)"
        )
    if not states:
        inside = f"; its keys are {', '.join(map(str, list(held)[:NAMED]))}" if held else ""
        raise UsageError(f"{where}: holds no state dict (names and tensors){inside}")
    return next(iter(states.values()))


def _is_state(content: object) -> bool:
    """Whether it is a state dict: names and tensors, and nothing else."""
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )


def _extraordinary(tensor: Tensor) -> str:
    """What is unusual in a tensor, and what to do; empty for one whose values lie in memory as they are."""
    if tensor.layout != torch.strided:
        return "is a sparse tensor: store it dense (tensor.to_dense())"
    if tensor.is_quantized:
        return "is a quantised tensor: store its values (tensor.dequantize())"
    return "has no values (a meta tensor): store the model after its weights are loaded" if tensor.is_meta else ""


def _reason(error: Exception) -> str:
    """What is wrong with a file, without torch's advice to open it all the same."""
    text = str(error).strip()
    if found := FOREIGN.search(text):
        return f"it holds {found[1]}, which is no tensor; {STORE}"
    if "weights_only" in text or "weights only" in text.lower():
        return f"it holds more than tensors; {STORE}"
    return text.splitlines()[0] if text and not text.isdigit() else f"its content is unknown; {STORE}"


def _kind(tensor: Tensor) -> str:
    if tensor.is_floating_point():
        return "floating-point"
    if tensor.is_complex():
        return "complex"
    return "boolean" if tensor.dtype == torch.bool else "integer"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
