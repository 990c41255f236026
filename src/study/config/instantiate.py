"""Building the objects that a configuration names, and one sentence for each value that they refuse."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import pydantic
from hydra.utils import instantiate
from torch import nn

from study.data.module import DataModule
from study.errors import UsageError, nearest
from study.models.classifier import Classifier

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
    node: Mapping[str, Any], mean: list[float] | None, std: list[float] | None, dimensions: int
) -> Classifier:
    """The classifier of an architecture's settings; see `Classifier` for the arguments."""
    try:
        net = instantiate(node, _convert_="all")
    except Exception as error:
        raise _refusal(error, "architecture", node) from error
    if not isinstance(net, nn.Module):
        raise UsageError(f"architecture._target_={node.get('_target_')}: is no torch.nn.Module")
    if not hasattr(net, "blueprint"):
        arguments = {name: value for name, value in node.items() if not name.startswith("_")}
        setattr(net, "blueprint", {"class": node["_target_"], "arguments": arguments})  # noqa: B010
    return Classifier(net, mean, std, dimensions)


def resolved_architecture(architecture: Mapping[str, Any], data: DataModule) -> dict[str, Any]:
    """An architecture's settings with each `auto` replaced by what follows from the data set."""
    follows = {
        "input_shape": list(data.input_shape),
        "num_classes": data.num_classes,
        "in_channels": data.input_shape[0],
    }
    unknown = [name for name, value in architecture.items() if value == "auto" and name not in follows]
    if unknown:
        raise UsageError(f"architecture.{unknown[0]}=auto: only {', '.join(follows)} follow from the data set")
    return {name: follows[name] if value == "auto" else value for name, value in architecture.items()}


def _refusal(error: Exception, group: str, node: Mapping[str, Any]) -> Exception:
    """What a constructor complains of, in one sentence that names the settings."""
    if inner := re.search(r"full_key: (\S+)", str(error)):
        group = f"{group}.{inner.group(1)}"
        node = functools.reduce(lambda part, key: part[key], inner.group(1).split("."), node)
    cause: BaseException = error
    while cause.__cause__ is not None and not isinstance(cause, (pydantic.ValidationError, UsageError)):
        cause = cause.__cause__
    if isinstance(cause, UsageError):
        return cause
    if isinstance(cause, pydantic.ValidationError):
        return UsageError(sentences(cause, group, _target(node)))
    return UsageError(f"{group}: {str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__}")


def _target(node: Mapping[str, Any]) -> Any:
    module, _, name = str(node.get("_target_", "")).rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return None


def sentences(error: pydantic.ValidationError, group: str, target: Any) -> str:
    """All of pydantic's complaints, each naming the setting, the value and what would be right."""
    by_setting: dict[str, list[str]] = {}
    for problem in error.errors():
        place = [str(part) for part in problem["loc"] if not _is_branch(part)]
        path = ".".join([group, *place] if group else place)
        if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            known = [name for name in inspect.signature(target).parameters if name != "self"] if target else []
            by_setting[f"{path}:"] = [f"there is no such setting; {nearest(place[-1], known)}"]
        elif problem["type"] == "missing_keyword_only_argument":
            by_setting[f"{path}:"] = ["is missing"]
        else:
            complaint = problem["msg"][0].lower() + problem["msg"][1:]
            by_setting.setdefault(f"{path}={problem['input']}:", []).append(complaint)
    return "; ".join(f"{path} {' or '.join(complaints)}" for path, complaints in by_setting.items())


def _is_branch(part: int | str) -> bool:
    """Whether a part of pydantic's location names a member of a union (`constrained-int`, `literal[...]`)."""
    return isinstance(part, str) and ("[" in part or "-" in part or part in ("int", "float", "str", "bool"))
