"""Building the objects that a configuration names, and one sentence for each value that they refuse."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import pydantic
import torch
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from study.config.complaints import sentences
from study.data.module import DataModule
from study.errors import UsageError
from study.models.classifier import Classifier
from study.storage.blueprint import Blueprint

Made = TypeVar("Made")


def made(values: Mapping[str, Any], group: str, kind: type[Made]) -> Made:
    """Instantiate a group's `_target_`, which must be a `kind`; its constructor checks the values."""
    node = dict(values[group])
    try:
        built = instantiate(node, _convert_="all")
    except Exception as error:
        raise _refusal(error, group, node) from error
    if not isinstance(built, kind):
        raise UsageError(f"{group}._target_={node.get('_target_')}: is no {kind.__name__}")
    return built


def make_classifier(
    node: Mapping[str, Any], mean: list[float] | None, std: list[float] | None, example: Tensor
) -> Classifier:
    """The classifier of an architecture's settings, which name any callable that makes a module.

    mean, std: see `Classifier`; example: inputs [B, ...] that lazily initialised layers take their shape from.
    """
    try:
        net = instantiate(node, _convert_="all")
    except Exception as error:
        raise _refusal(error, "architecture", node) from error
    if not isinstance(net, nn.Module):
        raise UsageError(f"architecture._target_={node.get('_target_')}: makes no torch.nn.Module")
    if not hasattr(net, "blueprint"):
        setattr(net, "blueprint", blueprint_from(_without_download(node)))  # noqa: B010
    classifier = Classifier(net, mean, std, example.dim() - 1)
    if any(is_lazy(tensor) for tensor in net.state_dict(keep_vars=True).values()):
        with torch.no_grad():
            classifier.eval()(example)
    return classifier.train()


def blueprint_from(node: Mapping[str, Any]) -> Blueprint:
    """The blueprint that a configured `_target_` amounts to; it may name further ones in its arguments."""
    arguments = {name: _plain(value) for name, value in node.items() if not name.startswith("_")}
    blueprint: Blueprint = {"class": node["_target_"], "arguments": arguments}
    if positional := node.get("_args_"):
        blueprint["positional"] = _plain(positional)
    if node.get("_partial_"):
        blueprint["partial"] = True
    return blueprint


def _without_download(node: Mapping[str, Any]) -> dict[str, Any]:
    """An architecture's settings without `pretrained: true`: a stored model brings its weights, and fetches none."""
    return {name: False if (name, value) == ("pretrained", True) else value for name, value in node.items()}


def _plain(value: Any) -> Any:
    """A configured value with every `_target_` in it as a blueprint."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    return blueprint_from(value) if "_target_" in value else {name: _plain(item) for name, item in value.items()}


def resolved_architecture(architecture: Mapping[str, Any], data: DataModule) -> dict[str, Any]:
    """An architecture's settings with each `auto` replaced by what follows from the data set."""
    follows = data.follows
    unknown = [name for name, value in architecture.items() if value == "auto" and name not in follows]
    if unknown:
        raise UsageError(f"architecture.{unknown[0]}=auto: only {', '.join(follows)} follow from the data set")
    return {name: follows[name] if value == "auto" else value for name, value in architecture.items()}


def _refusal(error: Exception, group: str, node: Mapping[str, Any]) -> Exception:
    """What a constructor complains of, in one sentence that names the settings."""
    if inner := re.search(r"full_key: (\S+)", str(error)):
        group = f"{group}.{inner.group(1)}"
        node = functools.reduce(_member, inner.group(1).split("."), node)
    cause: BaseException = error
    while cause.__cause__ is not None and not isinstance(cause, (pydantic.ValidationError, UsageError)):
        cause = cause.__cause__
    if isinstance(cause, UsageError):
        return cause
    if isinstance(cause, pydantic.ValidationError):
        return UsageError(sentences(cause.errors(), group, _target(node)))
    return UsageError(f"{group}: {str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__}")


def _member(node: Mapping[str, Any], key: str) -> Any:
    """What a key leads to; Hydra calls the first item of a list `steps` steps0."""
    if key in node:
        return node[key]
    name = key.rstrip("0123456789")
    return node[name][int(key.removeprefix(name))]


def _target(node: Mapping[str, Any]) -> Any:
    module, _, name = str(node.get("_target_", "")).rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return None
