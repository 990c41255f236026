"""The preprocessing that a timm model was trained for, out of timm's own records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any

from study.data.transforms import Transform
from study.errors import UsageError
from study.runtime.randomness import forked

OWN = "study.models.timm_network.TimmNetwork"
"""What architecture=timm makes."""


def timm_transform(model: str, settings: Mapping[str, Any]) -> Transform:
    """timm's evaluation transform for one of its models, made with these arguments of `timm.create_model`.

    Raises:
        UsageError: timm is missing, or cannot make such a model.
    """
    return _made(model, json.dumps(settings, sort_keys=True))


@lru_cache(maxsize=8)
def _made(model: str, settings: str) -> Transform:
    """As `timm_transform`; kept, as every job of a sweep asks for it, and it takes making the network."""
    try:
        timm, data = import_module("timm"), import_module("timm.data")
    except ImportError as error:
        raise UsageError(
            f"dataset.timm={model}: timm is not installed: pip install 'repair-study[timm]', or set dataset.transform"
        ) from error
    try:
        with forked(0, "timm"):  # the weights are drawn and thrown away
            network = timm.create_model(model, **{**json.loads(settings), "pretrained": False})
    except Exception as error:  # timm raises whatever its layers do
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(f"dataset.timm={model}: timm cannot make this model: {reason[0]}") from error
    transform: Transform = data.create_transform(**data.resolve_model_data_config(network), is_training=False)
    return transform


def named_model(architecture: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The model that an architecture's settings ask timm for, and the other arguments; `auto` ones are left out.

    Raises:
        UsageError: The architecture does not come from timm.
    """
    target = str(architecture.get("_target_", ""))
    if target == OWN:
        return architecture["name"], dict(architecture.get("arguments", {}))
    name = architecture.get("model_name")
    if not (target.startswith("timm.") and target.endswith("create_model") and isinstance(name, str)):
        raise UsageError(
            f"dataset.timm=true: architecture._target_={target} is neither architecture=timm nor timm.create_model "
            "with a model_name; set dataset.timm=NAME of a timm model, or dataset.transform"
        )
    others = {
        key: value
        for key, value in architecture.items()
        if not key.startswith("_") and key != "model_name" and value != "auto"
    }
    return name, others
