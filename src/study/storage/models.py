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

from study.errors import Damaged
from study.storage.blueprint import blueprint_of, from_blueprint
from study.storage.checksums import CHECKSUMS, verify

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
    (folder / BLUEPRINT).write_text(json.dumps(blueprint_of(module), indent=2))


def load_model(folder: Path, allowed: Collection[str] = (), weights: str = WEIGHTS) -> nn.Module:
    """The module that `save_model` stored, in eval mode; `allowed`: see `from_blueprint`."""
    module = from_blueprint(json.loads((folder / BLUEPRINT).read_text()), allowed)
    load_state(module, folder / weights)
    return module


def check_model(folder: Path) -> None:
    """See that a stored model's files are what was written, where the folder holds their checksums.

    Raises Damaged, which names the file.
    """
    if (folder / CHECKSUMS).exists():
        try:
            verify(folder, MODEL_FILES)
        except Damaged as damage:
            raise Damaged(f"{damage}; its job makes it again with force=true") from damage


def save_state(state: Mapping[str, Tensor], path: Path) -> None:
    """Store tensors under the network's own keys (contiguous copies: the format refuses shared and strided tensors)."""
    wrapped = bool(state) and all(name.startswith(WRAPPER) for name in state)
    plain = {name.removeprefix(WRAPPER) if wrapped else name: tensor for name, tensor in state.items()}
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in plain.items()}
    path.touch()
    mode = path.stat().st_mode
    save_file(copies, path)
    path.chmod(mode)  # safetensors puts a file there that nobody else may read


def load_state(module: nn.Module, path: Path) -> None:
    """Put a stored state into a module, and the module into eval mode: some have tensors in that mode alone."""
    expected = module.eval().state_dict()
    wrapped = bool(expected) and all(name.startswith(WRAPPER) for name in expected)
    state = load_file(path)
    module.load_state_dict({f"{WRAPPER}{name}" if wrapped else name: tensor for name, tensor in state.items()})
