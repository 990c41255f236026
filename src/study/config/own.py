"""The yaml files in a user's own folder of configurations (`--config-dir`), and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_loader import ConfigLoader
from omegaconf import OmegaConf
from yaml import MarkedYAMLError

from study.errors import UsageError


def check_names(own: Path, groups: Mapping[str, Any], loader: ConfigLoader) -> None:
    """Refuse a file with the name of one that is there already, which Hydra would take in its place.

    loader: finds what is there without the user's folder.
    """
    sources = list(loader.get_sources())
    for name in ("config", *_names(own, groups)):
        file = own / f"{name}.yaml"
        taken = [source for source in sources if source.is_config(name)]
        if not file.is_file() or any(Path(source.path, f"{name}.yaml").resolve() == file.resolve() for source in taken):
            continue
        if name == "config":
            raise UsageError(
                f"{file}: this name is taken, and the file would be ignored; make it an experiment/NAME.yaml"
            )
        if taken:
            group, _, option = name.rpartition("/")
            raise UsageError(f"{file}: {group}={option} is there already, so the file would be ignored; rename it")


def check_content(own: Path, choices: Mapping[str, str]) -> None:
    """Refuse a chosen file that sets nothing: it would be as if it were not chosen.

    choices: the option of each group.
    """
    for group, option in choices.items():
        file = own / group / f"{option}.yaml"
        if file.is_file():
            content = _content(file)
            if not isinstance(content, dict):
                raise UsageError(f"{file}: is a list; settings are written KEY: VALUE")
            if not content:
                raise UsageError(f"{file}: is empty; write the settings of {group}={option} into it")


def unreadable(error: BaseException, own: Path | None, groups: Mapping[str, Any]) -> str | None:
    """One sentence on a file that is no yaml, if an exception of Hydra comes from one."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, MarkedYAMLError) and (mark := link.problem_mark or link.context_mark):
            return f"{mark.name}, line {mark.line + 1}: {link.problem or link.context}"
        if isinstance(link, OSError | UnicodeDecodeError | yaml.YAMLError) and own:
            return next(_broken(own, groups), None)  # it does not say which file it is of
        link = link.__cause__
    return None


def _broken(own: Path, groups: Mapping[str, Any]) -> Iterator[str]:
    for name in _names(own, groups):
        try:
            _content(own / f"{name}.yaml")
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
            yield f"{own / name}.yaml: cannot be read as yaml ({' '.join(str(problem).split())})"


def circle(own: Path, groups: Mapping[str, Any]) -> str:
    """The file whose defaults list leads back to itself, in one sentence."""
    for name in _names(own, groups):
        reached: set[str] = set()
        ahead = list(_defaults(own, name))
        while ahead:
            if (following := ahead.pop()) not in reached:
                reached.add(following)
                ahead += _defaults(own, following)
        if name in reached:
            return f"{own / name}.yaml: its defaults list leads back to the file itself; take that entry out"
    return f"{own}: the defaults lists of its files lead on without end"


def _names(own: Path, groups: Mapping[str, Any]) -> Iterator[str]:
    """Every configuration in the folders of the groups: `method/mine`."""
    tops = sorted({group.partition("/")[0] for group in groups})
    for top in tops:
        for file in sorted((own / top).rglob("*.yaml")):
            yield file.relative_to(own).with_suffix("").as_posix()


def _defaults(own: Path, name: str) -> Iterator[str]:
    """The configurations that the defaults list of one asks for."""
    file = own / f"{name}.yaml"
    try:
        content = _content(file) if file.is_file() else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return
    group = name.rpartition("/")[0]
    for entry in content.get("defaults", []) if isinstance(content, dict) else []:
        pairs = entry.items() if isinstance(entry, dict) else [("", entry)]
        for folder, options in pairs:
            inner = str(folder).removeprefix("override ").removeprefix("optional ").partition("@")[0].strip()
            for option in options if isinstance(options, list) else [options]:
                path = "/".join(part for part in (inner, str(option).partition("@")[0]) if part)
                yield path.removeprefix("/") if path.startswith("/") else f"{group}/{path}"


def _content(file: Path) -> Any:
    return OmegaConf.to_container(OmegaConf.load(file), resolve=False)
