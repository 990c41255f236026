"""Blueprints: how to build a module again, as JSON, without pickle.

A blueprint names a callable and its arguments, which may hold further blueprints. `from_blueprint` follows it only to
module classes of this package and to what the caller names, so a stored model cannot run foreign code.
"""

from __future__ import annotations

import functools
import pkgutil
from collections.abc import Collection, Iterator
from typing import Any, cast

from torch import nn

from study.errors import UsageError

Blueprint = dict[str, Any]
"""{"class": dotted name, "arguments": {name: value}, "positional": [value], "partial": bool}, the last two only where
they are needed; a value is plain JSON or a Blueprint, in lists and dictionaries too."""


def blueprint_of(module: nn.Module) -> Blueprint:
    """The blueprint that a module carries; raises TypeError where it has none."""
    blueprint = getattr(module, "blueprint", None)
    if blueprint is None:
        raise TypeError(f"{type(module).__name__} cannot be stored: it has no blueprint")
    return cast(Blueprint, blueprint)


def outside_names(blueprint: Any) -> Iterator[str]:
    """The names in a blueprint (or in a value of one) that are not of this package."""
    if isinstance(blueprint, dict):
        if _is_blueprint(blueprint) and not blueprint["class"].startswith("study."):
            yield blueprint["class"]
        blueprint = list(blueprint.values())
    if isinstance(blueprint, list):
        for value in blueprint:
            yield from outside_names(value)


def from_blueprint(blueprint: Blueprint, allowed: Collection[str] = ()) -> nn.Module:
    """Build the module of a blueprint, newly initialised.

    Raises UsageError if it names something that does not exist, that is neither a module class of this package nor
    among `allowed` (dotted names of classes or functions), or that makes no module.
    """
    module = _built(blueprint, frozenset(allowed))
    if not isinstance(module, nn.Module):
        raise UsageError(f"the stored model is built by {blueprint['class']}, which makes no torch module")
    return module


def _is_blueprint(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("class"), str) and "arguments" in value


def _built(value: Any, allowed: frozenset[str]) -> Any:
    """A value of a blueprint with every blueprint in it built."""
    if isinstance(value, list):
        return [_built(item, allowed) for item in value]
    if not isinstance(value, dict):
        return value
    if not _is_blueprint(value):
        return {name: _built(item, allowed) for name, item in value.items()}
    target = _target(value["class"], allowed)
    positional = [_built(item, allowed) for item in value.get("positional", [])]
    arguments = {name: _built(item, allowed) for name, item in value["arguments"].items()}
    if value.get("partial"):
        return functools.partial(target, *positional, **arguments)
    made = target(*positional, **arguments)
    if isinstance(made, nn.Module) and not hasattr(made, "blueprint"):
        made.blueprint = value  # type: ignore[assignment]  # torch thinks that attributes are tensors
    return made


def _target(name: str, allowed: frozenset[str]) -> Any:
    """What a blueprint names, if it may."""
    if not name.startswith("study.") and name not in allowed:
        raise UsageError(f"the stored model names {name}, which is neither of this package nor configured here")
    try:
        target = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"the stored model names {name}, which does not exist here: {error}") from error
    if name not in allowed and not _is_own_module(target):
        raise UsageError(f"the stored model names {name}, which is not a torch module of this package")
    return target


def _is_own_module(target: Any) -> bool:
    """Whether it is a module class that is defined here, not something that a file of this package imports."""
    return isinstance(target, type) and issubclass(target, nn.Module) and target.__module__.startswith("study.")
