"""`study.load`: a repaired model out of a job's folder or an MLflow run."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path

from torch import nn

from study.errors import UsageError
from study.storage.blueprint import outside_names
from study.storage.models import BLUEPRINT, check_model, load_model

RUN = re.compile(r"[0-9a-f]{32}")
READ = "a job's folder, or the id of an MLflow run"
"""What holds a repaired model."""
NETWORKS = re.compile(r"torchvision\.models\.\w+|timm\.create_model|torch\.nn\.\w+")
"""What a stored model may call beside this package without being trusted: makers of networks, well known."""


def load(source: str | Path, trust: Collection[str] = ()) -> nn.Module:
    """A repaired model, in eval mode; it maps inputs in their natural range ([0, 1] for images) to logits.

    Where nothing but the weights of a network is new it is a `Classifier`, whose attribute `net` is the network.

    Args:
        source: a job's folder, the folder `repaired` in it, or the id of an MLflow run in the local store.
        trust: dotted names of what else the stored model may call: your own network. Beside this package,
            torchvision's and timm's networks nothing is called that is not named here.

    Raises:
        UsageError: There is no model, it is damaged, or it names something that is not trusted.
    """
    folder = folder_of(source)
    check_model(folder)
    names = set(outside_names(json.loads((folder / BLUEPRINT).read_text())))
    for name in sorted(names - set(trust)):
        if not NETWORKS.fullmatch(name):
            raise UsageError(f"{source}: the model is made by {name}: load(..., trust=[{name!r}]) if you trust that")
    return load_model(folder, names)


def folder_of(source: str | Path) -> Path:
    """The folder that holds the model; raises UsageError where there is none."""
    text = str(source)
    if RUN.fullmatch(text) and not Path(text).exists():
        from study.tracking.recorded import repaired_of
        from study.tracking.store import Store

        return folder_of(repaired_of(text, Store()))
    if not isinstance(source, (str, Path)):
        raise UsageError(f"load: give {READ}, not what is of type {type(source).__name__}")
    given = Path(source)
    if given.is_file():
        raise UsageError(
            f"{source}: is a file, and study.load reads {READ}; weights go into a network by net.load_state_dict, and "
            "on the command line by faulty.checkpoint"
        )
    for folder in (given, given / "repaired", given / "artifacts" / "repaired"):
        if (folder / BLUEPRINT).is_file():
            return folder
    lack = f"holds no {BLUEPRINT}: its job repaired no model" if given.exists() else "there is no such folder"
    raise UsageError(f"{source}: {lack}")
