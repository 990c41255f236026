"""The settings in an option's file, with those that it inherits: as Hydra composes them, without Hydra and torch."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from study.storage.paths import conf_folder

SCALES = ("full", "published")
"""Folders of conf/method beside the defaults: our regime at full scale, and the authors' regime."""


def option(group: str, name: str) -> DictConfig | None:
    """The settings of `conf/GROUP/NAME.yaml`, its references unresolved; None where this project has no such file."""
    file = conf_folder() / group / f"{name}.yaml"
    if not file.is_file():
        return None
    own = OmegaConf.load(file)
    assert isinstance(own, DictConfig)
    entries = [str(entry) for entry in own.pop("defaults", [])]
    names = [entry.removeprefix(f"/{group}/").removesuffix("@_here_") for entry in entries if entry != "_self_"]
    inherited = [option(group, parent) for parent in names]
    merged = OmegaConf.merge(*(settings for settings in inherited if settings is not None), own)
    assert isinstance(merged, DictConfig)
    return merged


def options(group: str) -> list[str]:
    """The names of a group's options, `full/NAME` and `published/NAME` included."""
    folder: Path = conf_folder() / group
    return [path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")]
