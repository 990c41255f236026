"""What the arguments of a command line may name, and one sentence for each that names something else.

Nothing here knows the composed configuration: a key inside a group is found missing when it is composed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from study.config.options import SCALES
from study.errors import UsageError, nearest

GROUPS = ("method", "dataset", "architecture", "faulty", "metric", "safeguard", "trainer", "tracking")
KEYS = (*GROUPS, "seed", "subject", "force", "plan", "fail_fast", "trust", "objective")
ADDED = ("method", "experiment")
"""Groups without a usual choice: Hydra asks for a plus in front of them."""
PLUGINS = {
    "optuna": ("hydra_plugins.hydra_optuna_sweeper", "optuna"),
    "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
}
"""Sweepers and launchers that need a module, and the extra of this distribution that brings it."""
DISTRIBUTION = "repair-study"
PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Offer:
    """What there is to choose from.

    groups: the options of each group, those in a user's own folder and Hydra's own groups (`hydra/launcher`) included.
    """

    groups: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, loader: ConfigLoader, own: Path | None) -> Offer:
        """From the configurations that Hydra finds, and those in a user's own folder."""
        names = [name for name in loader.get_group_options("", ObjectType.GROUP) if name != "hydra"]
        names += [f"hydra/{name}" for name in loader.get_group_options("hydra", ObjectType.GROUP)]
        return cls({name: _options(loader, name, own) for name in names})

    @property
    def first_names(self) -> list[str]:
        """What a key may begin with."""
        return sorted({*KEYS, *(name.partition("/")[0] for name in self.groups)})


def parse(overrides: Iterable[str], offer: Offer, loader: ConfigLoader) -> list[Override]:
    """The arguments as Hydra reads them; raises UsageError for one that it cannot read."""
    parser = OverridesParser.create(loader)
    found: list[Override] = []
    for text in overrides:
        if not re.match(r"[^=]+=|~.", text):
            raise UsageError(_no_setting(text, offer))
        try:
            found += parser.parse_overrides([text])
        except HydraException as error:
            raise UsageError(_unreadable(text, offer)) from error
    return found


def check(overrides: Sequence[Override], offer: Offer, multirun: bool) -> None:
    """Raise UsageError for a name that is not there, or several values where a job takes one."""
    _one_each(overrides)
    for override in overrides:
        _check_name(override, offer)
        if override.is_delete() and override.key_or_group.partition("/")[0] == "hydra":
            raise UsageError(f"{override.input_line}: this part of Hydra cannot be taken out, only chosen")
        if override.key_or_group in offer.groups and not override.is_delete():
            _check_plus(override)
            _check_choices(override, offer.groups[override.key_or_group])
        if override.is_sweep_override() and not multirun:
            raise UsageError(_several(override))


def unknown_key(path: str, siblings: Iterable[str]) -> UsageError:
    """The refusal of a key that does not exist; `siblings` are those that do."""
    *parents, name = path.split(".")
    where = ".".join(parents)
    return UsageError(f"{path}: {where or 'the configuration'} has no key {name}; {nearest(name, siblings)}")


def _options(loader: ConfigLoader, group: str, own: Path | None) -> list[str]:
    names = set(loader.get_group_options(group))
    if group == "method":
        names -= set(SCALES)
        names |= {f"{scale}/{name}" for scale in SCALES for name in loader.get_group_options(f"method/{scale}")}
    if own is not None:
        names |= {path.relative_to(own / group).with_suffix("").as_posix() for path in (own / group).rglob("*.yaml")}
    return sorted(names)


def _unreadable(text: str, offer: Offer) -> str:
    name, _, value = text.partition("=")
    if name.lstrip("+") in offer.groups and re.fullmatch(r"[\w -]+", value):  # a name in an alphabet that Hydra lacks
        _check_choice(name.lstrip("+"), value, offer.groups[name.lstrip("+")])
    if not re.fullmatch(r"[~+]*[^\W\d][\w./@$-]*", name):
        return f"{text}: {name} is no name of a setting"
    return f"{text}: the value cannot be read; close its brackets, or quote it as text: \"{name}='{value}'\""


def _no_setting(text: str, offer: Offer) -> str:
    """The refusal of an argument without `=`, with what may have been meant."""
    meant = {name: f"{name}=VALUE" for name in KEYS}
    for group in reversed(GROUPS):
        meant |= {option: f"{group}={option}" for option in offer.groups[group] if not option.startswith("default_")}
    meant |= {name: f"{name}=NAME" for name in offer.groups}
    meant |= {name: f"python -m study.{name}" for name in _commands()}
    close = get_close_matches(text.lstrip("+").removesuffix("="), meant, n=1, cutoff=0.75)
    hint = f"did you mean {meant[close[0]]}?" if close else "`python -m study --help` lists what there is"
    return f"{text}: is no setting, which is KEY=VALUE; {hint}"


def _commands() -> list[str]:
    """The commands of this package beside its own: `python -m study.NAME`."""
    modules = [file for file in PACKAGE.glob("[a-z]*.py") if '__name__ == "__main__"' in file.read_text()]
    return [file.stem for file in modules] + [file.parent.name for file in PACKAGE.glob("*/__main__.py")]


def _one_each(overrides: Sequence[Override]) -> None:
    """Hydra would merge the options of a group that are given as a list."""
    for group in GROUPS:
        chosen = [override for override in overrides if override.key_or_group == group and not override.is_delete()]
        if any(isinstance(override.value(), list) for override in chosen) or (group in ADDED and len(chosen) > 1):
            told = " ".join(str(override.input_line) for override in chosen)
            right = f"{'+' if group in ADDED else ''}{group}=NAME,NAME"
            raise UsageError(f"{told}: a job takes one {group}; several in turn are a multirun: -m {right}")


def _check_name(override: Override, offer: Offer) -> None:
    """The first part of a key, and a whole group of Hydra's own."""
    key = override.key_or_group
    first = re.split("[./]", key)[0]
    if first not in offer.first_names:
        rest = key.removeprefix(first)
        raise UsageError(f"{key}: the configuration has no key {first}; {nearest(first, offer.first_names, rest)}")
    if "/" in key and key not in offer.groups:
        name = key.rpartition("/")[2]
        groups = [group.rpartition("/")[2] for group in offer.groups if group.startswith(f"{first}/")]
        raise UsageError(f"{key}: {first} has no group {name}; {nearest(name, groups)}")


def _check_plus(override: Override) -> None:
    """A plus adds what has no usual choice, two force it: neither is right for a group that has one."""
    text, group = str(override.input_line), override.key_or_group
    right = "+" if group in ADDED else ""
    if (override.is_add() and not right) or override.is_force_add():
        raise UsageError(f"{text}: write {right}{text.lstrip('+')}")


def _check_choices(override: Override, options: Sequence[str]) -> None:
    """Refuse a group's option that is not there, with the nearest names; `null` is none."""
    values = override.value()
    if isinstance(values, dict):
        group = override.key_or_group
        raise UsageError(
            f"{override.input_line}: a choice is made by its name, {group}=NAME; its settings are {group}.KEY=VALUE"
        )
    if override.is_sweep_override():
        values = list(override.sweep_string_iterator()) if override.is_choice_sweep() else []
    for value in values if isinstance(values, list) else [values]:
        name = str(value).removesuffix(".yaml") if isinstance(value, str) else json.dumps(value)
        _check_choice(override.key_or_group, name, options)


def _check_choice(group: str, name: str, options: Sequence[str]) -> None:
    module, extra = PLUGINS.get(name, ("", "")) if group.startswith("hydra/") else ("", "")
    if module and not _is_installed(module):
        raise UsageError(f"{group}={name}: is not installed; pip install '{DISTRIBUTION}[{extra}]' adds it")
    if name not in options:
        offered = [option for option in options if not option.startswith("default_")]
        raise UsageError(f"{group}={name}: there is no such {group.rpartition('/')[2]}; {nearest(name, offered)}")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _several(override: Override) -> str:
    text, key = str(override.input_line), override.key_or_group
    told = f"{text}: a job takes one value; several in turn are a multirun: -m {text}"
    value = text.partition("=")[2]
    if "." in key and re.fullmatch(r"[^()]*", value):
        told += f"; a list is {key}=[{value}]"
    return told
