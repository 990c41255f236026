"""Approaches, safeguards and metrics by the names that they have on the command line."""

from __future__ import annotations

from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from study.config.instantiate import made
from study.errors import UsageError, nearest
from study.metrics.suite import Suite
from study.repairs.approach import Approach
from study.safeguards.base import Safeguard
from study.storage.paths import conf_folder

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
    """A safeguard of conf/safeguard (`none`, `soft_vote`, `unanimous`)."""
    return name if isinstance(name, Safeguard) else _made("safeguard", name, Safeguard, {})  # type: ignore[type-abstract]


def suite(name: str | Suite) -> Suite:
    """The metrics of conf/metric (`fast`, `all`, `autoattack`)."""
    return name if isinstance(name, Suite) else _made("metric", name, Suite, {})


def _made(group: str, name: str, kind: type[Made], settings: dict[str, Any]) -> Made:
    values: Any = OmegaConf.to_container(_option(group, name), resolve=True)
    return made({group: values | settings}, group, kind)


def _option(group: str, name: str) -> DictConfig:
    """A file of conf with those that its defaults list names, as Hydra composes them."""
    folder = conf_folder() / group
    file = folder / f"{name}.yaml"
    if not file.is_file():
        known = [path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")]
        raise UsageError(f"{group}={name}: there is no such {group}; {nearest(name, known)}")
    own = OmegaConf.load(file)
    assert isinstance(own, DictConfig)
    others = [str(entry).removeprefix(f"/{group}/").removesuffix("@_here_") for entry in own.pop("defaults", [])]
    before = [_option(group, other) for other in others if other != "_self_"]
    merged = OmegaConf.merge(*before, own)
    assert isinstance(merged, DictConfig)
    return merged
