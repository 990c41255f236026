"""Approaches, safeguards and metrics by the names that they have on the command line."""

from __future__ import annotations

from typing import Any, TypeVar

from omegaconf import OmegaConf

from study.config.instantiate import made
from study.config.options import option, options
from study.errors import UsageError, nearest
from study.metrics.suite import Suite
from study.repairs.approach import Approach
from study.safeguards.base import Safeguard

Made = TypeVar("Made")


def approach(method: str | Approach, **hyperparameters: Any) -> Approach:
    """An approach of conf/method (`arachne`, `full/joint`) with these hyperparameters; an `Approach` as it is.

    Raises UsageError for a name, a hyperparameter or a value that is not known.
    """
    if isinstance(method, Approach):
        if hyperparameters:
            raise UsageError(
                f"{next(iter(hyperparameters))}: give hyperparameters to the {type(method).__name__} itself"
            )
        return method
    return _made("method", method, Approach, hyperparameters)  # type: ignore[type-abstract]


def safeguard(name: str | Safeguard) -> Safeguard:
    """A safeguard of conf/safeguard (`none`, `interpolation`, `soft_voting`); a `Safeguard` as it is."""
    return name if isinstance(name, Safeguard) else _made("safeguard", name, Safeguard, {})  # type: ignore[type-abstract]


def suite(name: str | Suite) -> Suite:
    """The metrics of conf/metric (`fast`, `all`, `autoattack`)."""
    return name if isinstance(name, Suite) else _made("metric", name, Suite, {})


def _made(group: str, name: Any, kind: type[Made], settings: dict[str, Any]) -> Made:
    if isinstance(name, type) and issubclass(name, kind):
        raise UsageError(f"{group}={name.__name__}: is a class; give an object of it, {name.__name__}(...)")
    if not isinstance(name, str):
        given = name.__name__ if isinstance(name, type) else name
        raise UsageError(f"{group}={given}: should be the name of a {group}, or an object of class {kind.__name__}")
    found = option(group, name)
    if found is None:
        raise UsageError(f"{group}={name}: there is no such {group}; {nearest(name, options(group))}")
    values: Any = OmegaConf.to_container(found, resolve=True)
    return made({group: values | settings}, group, kind)
