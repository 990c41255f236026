"""What is given by settings: values such as an approach, whose fields they are, and constructors that take them.

Everywhere pydantic checks them, and a number that is not finite is refused.
"""

from __future__ import annotations

from dataclasses import field
from typing import TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, validate_call
from pydantic.dataclasses import dataclass

_Class = TypeVar("_Class", bound=type)

checked_call = validate_call(config=ConfigDict(allow_inf_nan=False))
"""Decorator of a constructor whose annotated arguments are settings."""


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field, field))
def settings(cls: _Class) -> _Class:
    """Class decorator: the annotated fields are keyword arguments that pydantic checks, and cannot be changed later."""
    checked = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
    return checked(cls)  # type: ignore[return-value]
