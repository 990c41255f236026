"""Hyperparameters of the wrong kind, refused without importing their approach, which would take seconds of torch."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pydantic import TypeAdapter, ValidationError

from study.config.complaints import KINDS, shown
from study.config.options import option
from study.errors import UsageError

TAKE_TEXT = {"Literal", "Auto", "str"}
"""Names in the annotation of a field that takes text as well: its class alone knows which."""


def check(method: str, values: Mapping[str, Any]) -> None:
    """Refuse text for a number, and anything but true and false for one of these, in an approach of this package.

    method: the chosen option; values: its settings. A user's own approach is left to its class, as is all else that
    its file does not tell.

    Raises:
        UsageError: A value is of another kind than the one in the option's file.
    """
    usual = _usual(method.rpartition("/")[2])
    target = str(values.get("_target_"))
    if usual.get("_target_") != target:
        return
    for name, value in values.items():
        right = right_kind(usual.get(name), value)
        if right is not None and not _takes_text(target, name):
            raise UsageError(f"method.{name}={shown(value)}: should be {right}")


@cache
def _usual(method: str) -> Any:
    """The settings in the option's file, read once for all jobs of a sweep."""
    found = option("method", method)
    return {} if found is None else OmegaConf.to_container(found)


def right_kind(usual: Any, value: Any) -> str | None:
    """What should be there in place of `value`, None where it may do: the kind of the usual value."""
    if isinstance(usual, bool):
        return None if value is None or _reads_as(bool, value) else KINDS["bool"]
    if not isinstance(usual, (int, float)) or not isinstance(value, (str, bool)):
        return None
    if isinstance(value, str) and _reads_as(float, value):
        return None
    return KINDS[type(usual).__name__]


def _reads_as(kind: type, value: Any) -> bool:
    """Whether pydantic takes a value for one of a kind: it reads numbers and truth values out of text."""
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


def _takes_text(target: str, name: str) -> bool:
    """Whether the field of a class may take text, as the annotation in its source says; yes where that has none."""
    module, _, class_name = target.rpartition(".")
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return True
    body = ast.parse(Path(spec.origin).read_text()).body
    classes = [node for node in body if isinstance(node, ast.ClassDef) and node.name == class_name]
    fields = [node for found in classes for node in found.body if isinstance(node, ast.AnnAssign)]
    annotations = [ast.unparse(field.annotation) for field in fields if ast.unparse(field.target) == name]
    return not annotations or bool(TAKE_TEXT & set(re.findall(r"\w+", annotations[0])))
