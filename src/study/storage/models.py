"""Models that can be stored and read back without pickle.

A model is stored as safetensors (its state) plus a JSON blueprint: the class and the constructor's arguments, nested
where an argument is a module itself. `from_blueprint` follows it only to classes of this package and to those that the
caller names, so a stored model cannot run foreign code.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from study.errors import UsageError
from study.storage.files import write_atomically

Blueprint = dict[str, Any]
"""{"class": dotted name, "arguments": {name: JSON value or Blueprint}}"""

WEIGHTS, BLUEPRINT = "model.safetensors", "model.json"


def weights_hash(module: nn.Module) -> str:
    """Hash of a module's parameters and persistent buffers."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:20]


def blueprint_of(module: nn.Module) -> Blueprint:
    """The blueprint that a module carries; raises TypeError where it has none."""
    blueprint = getattr(module, "blueprint", None)
    if blueprint is None:
        raise TypeError(f"{type(module).__name__} cannot be stored: it has no blueprint")
    return cast(Blueprint, blueprint)


def from_blueprint(blueprint: Blueprint, allowed: Collection[str] = ()) -> nn.Module:
    """Build the module of a blueprint, newly initialised.

    Raises UsageError if it names a class that does not exist, or one outside this package and `allowed` (dotted names).
    """
    name = blueprint["class"]
    if not name.startswith("study.") and name not in allowed:
        raise UsageError(
            f"the stored model names the class {name}, which is neither of this package nor configured here"
        )
    module_name, _, class_name = name.rpartition(".")
    try:
        target = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"the stored model names the class {name}, which does not exist here: {error}") from error
    if not (isinstance(target, type) and issubclass(target, nn.Module)):
        raise UsageError(f"the stored model names {name}, which is not a torch module")
    arguments = {
        key: from_blueprint(value, allowed) if isinstance(value, dict) and "class" in value else value
        for key, value in blueprint["arguments"].items()
    }
    module = target(**arguments)
    if not hasattr(module, "blueprint"):
        module.blueprint = blueprint  # type: ignore[assignment]  # torch thinks that attributes are tensors
    return module


def save_model(module: nn.Module, folder: Path) -> None:
    """Store a module's state and blueprint in an existing folder."""
    save_state(module.state_dict(), folder / WEIGHTS)
    write_atomically(folder / BLUEPRINT, json.dumps(blueprint_of(module), indent=2))


def load_model(folder: Path, allowed: Collection[str] = ()) -> nn.Module:
    """The module that `save_model` stored, in eval mode; `allowed`: see `from_blueprint`."""
    module = from_blueprint(json.loads((folder / BLUEPRINT).read_text()), allowed)
    module.load_state_dict(load_file(folder / WEIGHTS))
    return module.eval()


def save_state(state: dict[str, Tensor], path: Path) -> None:
    """Store tensors as safetensors (contiguous copies: shared and strided tensors are refused by the format)."""
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}, path)


def load_checkpoint(path: Path) -> dict[str, Tensor]:
    """A state dict from a safetensors or a plain torch file; a pickle that would run code is refused, not run.

    A Lightning-like checkpoint (`{"state_dict": ...}`) is unwrapped. Raises UsageError if there is nothing usable.
    """
    if not path.is_file():
        raise UsageError(f"faulty.checkpoint={path}: there is no such file")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # a foreign file: torch and safetensors raise a dozen kinds
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"faulty.checkpoint={path}: neither a safetensors file nor a plain state dict "
            f"(pickles that could run code are not opened): {first_line}"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise UsageError(f"faulty.checkpoint={path}: holds no state dict (names and tensors)")
    return content
