"""The arguments of `study.repair` and its like that a mistake can be made in, checked one by one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from study.config.complaints import sentences
from study.config.settings import Seed
from study.errors import UsageError
from study.runtime.hardware import Hardware

DEVICES = {"cpu": "cpu", "gpu": "gpu", "cuda": "gpu"}
"""The accelerator by the names of a device."""


def checked(name: str, value: Any, kind: Any) -> Any:
    """The value of an argument as pydantic reads it for an annotation `kind`.

    Raises UsageError, in the words of the command line, for a value that is wrong.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise UsageError(sentences(error.errors(), name, None)) from error


def checked_settings(name: str, values: Any, kind: Any) -> None:
    """Raise UsageError where the values of an argument, by their names, are no settings of the class `kind`."""
    if not isinstance(values, Mapping):
        raise UsageError(f"{name}={values}: should be a mapping of names to values")
    try:
        kind(**values)
    except ValidationError as error:
        raise UsageError(sentences(error.errors(), name, kind)) from error


def seed_of(seed: Any) -> int:
    """The seed, of any kind of whole number; raises UsageError for what is none."""
    number: int = checked("seed", seed, Seed)
    return number


def hardware_of(device: Any, progress: Any) -> Hardware:
    """Where and how to run; raises UsageError for a device that is not known or not there, or an odd `progress`."""
    accelerator = DEVICES.get(str(device))
    if accelerator is None:
        raise UsageError(f"device={device}: should be gpu or cpu")
    if not isinstance(progress, bool) and progress != "auto":
        raise UsageError(f"progress={progress}: should be True, False or auto")
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UsageError(f"device={device}: torch sees no GPU on this machine; leave device out to run on the CPU")
    return Hardware(accelerator="gpu" if accelerator == "gpu" else "cpu", progress=progress)


def check_network(model: Any, name: str = "model") -> None:
    """Raise UsageError unless the argument `name` is a network."""
    if isinstance(model, nn.Module):
        return
    given = str(model) if isinstance(model, (str, Path)) else f"of type {type(model).__name__}"
    if isinstance(model, type):
        given = f"the class {model.__name__}"
    raise UsageError(
        f"{name} is {given}: give the network, a torch.nn.Module (a state dict goes in by net.load_state_dict)"
    )
