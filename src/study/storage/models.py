"""Models that can be stored and read back without pickle: a blueprint (JSON) and a state (safetensors).

The state is stored under the network's own keys: where a model is a network behind its normalisation, the file loads
into the network's class as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from study.errors import UsageError
from study.storage.blueprint import blueprint_of, from_blueprint
from study.storage.files import write_atomically

BLUEPRINT, WEIGHTS = "model.json", "repaired.safetensors"
INPUTS = "inputs.json"
"""What a stored model takes: kind and shape of an input, its bounds, and the names of the classes."""
MODEL_FILES = (WEIGHTS, BLUEPRINT)
"""Names of a stored model's files; that of the weights says which model they are of."""
WRAPPER = "net."
"""Of the keys of a network behind its normalisation."""


def weights_hash(module: nn.Module) -> str:
    """Hash of a module's parameters and persistent buffers."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:20]


def save_model(module: nn.Module, folder: Path, weights: str = WEIGHTS) -> None:
    """Store a module's state (as the file `weights`) and blueprint in an existing folder."""
    save_state(module.state_dict(), folder / weights)
    write_atomically(folder / BLUEPRINT, json.dumps(blueprint_of(module), indent=2))


def load_model(folder: Path, allowed: Collection[str] = (), weights: str = WEIGHTS) -> nn.Module:
    """The module that `save_model` stored, in eval mode; `allowed`: see `from_blueprint`."""
    module = from_blueprint(json.loads((folder / BLUEPRINT).read_text()), allowed)
    load_state(module, folder / weights)
    return module


def save_state(state: Mapping[str, Tensor], path: Path) -> None:
    """Store tensors under the network's own keys (contiguous copies: the format refuses shared and strided tensors)."""
    wrapped = bool(state) and all(name.startswith(WRAPPER) for name in state)
    plain = {name.removeprefix(WRAPPER) if wrapped else name: tensor for name, tensor in state.items()}
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in plain.items()}, path)


def load_state(module: nn.Module, path: Path) -> None:
    """Put a stored state into a module, and the module into eval mode: some have tensors in that mode alone."""
    expected = module.eval().state_dict()
    wrapped = bool(expected) and all(name.startswith(WRAPPER) for name in expected)
    state = load_file(path)
    module.load_state_dict({f"{WRAPPER}{name}" if wrapped else name: tensor for name, tensor in state.items()})


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
