"""The values of a configuration that belong to no group; nothing here imports torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import pydantic
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import AfterValidator, Field
from pydantic_core import ErrorDetails

from study.config.complaints import sentences, shown
from study.errors import UsageError

HYDRA = "hydra"
"""Where a composed configuration holds Hydra's part, which is none of a job's values."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _dotted(name: str) -> str:
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        raise ValueError("should be the name of a package or of what it holds, such as my_package.Net")
    return name


DottedName = Annotated[str, AfterValidator(_dotted)]


class SubjectSettings(pydantic.BaseModel, extra="forbid"):
    """The `subject` part of the configuration."""

    seed: Seed


class Settings(pydantic.BaseModel, extra="forbid"):
    """The values of the configuration that belong to no group."""

    seed: Seed
    subject: SubjectSettings
    force: bool
    plan: bool
    fail_fast: bool
    trust: list[DottedName]
    objective: str


def resolved(config: DictConfig) -> dict[str, Any]:
    """The configuration as plain values, without references and without Hydra's part.

    Raises:
        UsageError: A reference leads nowhere, or a name is none, such as a number.
    """
    try:
        values: dict[Any, Any] = {name: _plain(config[name]) for name in config if name != HYDRA}
    except MissingMandatoryValue as error:
        raise UsageError(f"{error.full_key}: is missing") from error
    except OmegaConfBaseException as error:
        raise UsageError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    _check_names(values, "")
    return values


def _plain(node: Any) -> Any:
    """A node without references, or a value as it is."""
    if not OmegaConf.is_config(node):
        return node
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)


def _check_names(value: Any, place: str) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise UsageError(f"{place}{shown(name)}: is no name of a setting, which is text: put it in quotes")
            _check_names(inner, f"{place}{name}.")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _check_names(inner, f"{place}{number}.")


def settings_of(values: Mapping[str, Any]) -> Settings:
    """The settings of a resolved configuration; raises UsageError, in one sentence, for values that are wrong."""
    try:
        return Settings(**{name: values[name] for name in Settings.model_fields if name in values})
    except pydantic.ValidationError as error:
        problems = error.errors()
        told = [problem for problem in problems if not _only_follows(problem, problems)]
        raise UsageError(sentences(told, "", Settings)) from error


def _only_follows(problem: ErrorDetails, problems: list[ErrorDetails]) -> bool:
    """Whether a complaint is of `subject.seed` where it has the value of a wrong `seed`, which it follows."""
    seeds = [other["input"] for other in problems if other["loc"] == ("seed",)]
    return problem["loc"] == ("subject", "seed") and problem["input"] in seeds
