"""From a command line to the configurations of its jobs, and a clear sentence for each mistake on the way.

Everything is composed here once before Hydra starts, so that a mistake in one job of a sweep is found before the
first job runs and before a folder is made. Nothing here imports torch.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from study.errors import UsageError, nearest

GROUPS = ("method", "dataset", "architecture", "faulty", "metric", "safeguard", "trainer", "tracking")
KEYS = (*GROUPS, "seed", "subject", "force", "plan", "fail_fast")
VERSION_BASE = "1.3"


@dataclass(frozen=True)
class Composed:
    """One job of a command line: its configuration without and with Hydra's part, and the overrides that made it."""

    config: DictConfig
    hydra: DictConfig
    overrides: list[str]

    @property
    def choices(self) -> dict[str, str]:
        """The chosen option of each group."""
        return dict(self.hydra.runtime.choices)


def with_plus(argv: Sequence[str]) -> list[str]:
    """The arguments with `method=x` read as `+method=x`, which Hydra asks for since no method is the default."""
    return [f"+{argument}" if argument.startswith("method=") else argument for argument in argv]


def for_hydra(argv: Sequence[str], multirun: bool) -> list[str]:
    """The arguments, checked before, in the form that Hydra's own start of a multirun takes.

    There a swept `+method=a,b` is left out, so that `method.epochs=3` would find no method to change.
    """
    if not multirun:
        return list(argv)
    return [f"++{argument}" if argument.startswith("method.") else argument for argument in argv]


def parsed(argv: Sequence[str]) -> Namespace:
    """Hydra's view of the arguments."""
    arguments: Namespace = get_args_parser().parse_args(list(argv))
    return arguments


def composed(arguments: Namespace, conf: Path) -> list[Composed]:
    """Every job of a command line, composed; raises UsageError for a name or key that is not there."""
    overrides = list(arguments.overrides)
    _one_method(overrides)
    own = Path(arguments.config_dir).absolute() if arguments.config_dir else None
    if own is not None and not own.is_dir():
        raise UsageError(f"--config-dir {arguments.config_dir}: there is no such folder")
    search_path = [f"hydra.searchpath=[file://{own}]"] if own else []
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base=VERSION_BASE, job_name="study"):
        known = _options(own)
        for override in _parse(overrides):
            _check_choice(override, known)
        jobs = _expanded(overrides) if arguments.multirun else [overrides]
        return [_compose(job, search_path) for job in jobs]


def unknown_key(path: str, siblings: Iterable[str]) -> UsageError:
    """The refusal of a key that does not exist; `siblings` are those that do."""
    *parents, name = path.split(".")
    where = ".".join(parents)
    return UsageError(f"{path}: {where or 'the configuration'} has no key {name}; {nearest(name, siblings)}")


def _one_method(overrides: Sequence[str]) -> None:
    chosen = [text for text in overrides if re.match(r"\+{1,2}method=", text)]
    if len(chosen) > 1 or any(re.match(r"\+{1,2}method=\[", text) for text in chosen):
        raise UsageError(f"{' '.join(chosen)}: a job takes one method; several in turn are a multirun: -m +method=a,b")
    if any(text.startswith("++method=") for text in chosen):
        raise UsageError(f"{chosen[0]}: write {chosen[0][1:]}")


def _parse(overrides: Sequence[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise UsageError(_first_line(error)) from error


def _options(own: Path | None) -> dict[str, list[str]]:
    """The options of each group, those in a user's own folder included."""
    loader = GlobalHydra.instance().config_loader()
    options: dict[str, list[str]] = {}
    for group in GROUPS:
        names = {name for name in loader.get_group_options(group) if name != "full"}
        names |= {f"full/{name}" for name in loader.get_group_options(f"{group}/full")} if group == "method" else set()
        if own is not None:
            names |= {
                path.relative_to(own / group).with_suffix("").as_posix() for path in (own / group).rglob("*.yaml")
            }
        options[group] = sorted(names)
    return options


def _check_choice(override: Override, known: Mapping[str, Sequence[str]]) -> None:
    """Refuse a group's option that is not there, with the nearest names."""
    group = override.key_or_group
    if group not in known or override.is_delete():
        return
    values = override.value()
    if override.is_sweep_override():
        values = list(override.sweep_string_iterator()) if override.is_choice_sweep() else []
    for value in values if isinstance(values, list) else [values]:
        name = str(value).removesuffix(".yaml")
        if isinstance(value, (str, int, float)) and name not in known[group]:
            offered = [option for option in known[group] if not option.startswith("default_")]
            raise UsageError(f"{group}={name}: there is no such {group}; {nearest(name, offered)}")


def _expanded(overrides: Sequence[str]) -> list[list[str]]:
    batches = BasicSweeper.split_arguments(_parse(overrides), max_batch_size=None)
    return [list(job) for batch in batches for job in batch]


def _compose(overrides: list[str], search_path: Sequence[str]) -> Composed:
    try:
        whole = compose("config", [*overrides, *search_path], return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise _refusal(error, overrides, search_path) from error
    config = OmegaConf.masked_copy(whole, [str(key) for key in whole if key != "hydra"])
    for key in config:
        if key not in KEYS:
            raise unknown_key(str(key), KEYS)
    return Composed(config, whole.hydra, overrides)


def _refusal(error: Exception, overrides: list[str], search_path: Sequence[str]) -> UsageError:
    """What Hydra complains of, in one sentence."""
    text = str(error)
    if found := re.match(r"Could not override '([^']+)'", text):
        return _no_such_key(found.group(1), overrides, search_path)
    if found := re.search(r"Could not find '?architecture/default_([\w/]+)'?", text):
        return UsageError(f"dataset={found.group(1)} has no usual architecture: add architecture=NAME")
    if found := re.match(r"In 'config': Could not find '([^']+)'", text):
        return UsageError(f"there is no configuration {found.group(1)}")
    return UsageError(_first_line(error))


def _no_such_key(path: str, overrides: list[str], search_path: Sequence[str]) -> UsageError:
    """Compose without the override that failed, to see which keys stand beside the one it names."""
    others = [text for text in overrides if not re.match(rf"[+~]*{re.escape(path)}(@|=|$)", text)]
    *parents, _ = path.split(".")
    if path.partition(".")[0] == "method" and not any(text.startswith("+method=") for text in others):
        return UsageError(f"{path}: no method is chosen; add +method=NAME")
    siblings: Iterable[Any] = KEYS
    if parents and len(others) < len(overrides):
        node: Any = _compose(others, search_path).config
        for parent in parents:
            node = node.get(parent) if isinstance(node, DictConfig) else None
        if not isinstance(node, DictConfig):
            return UsageError(f"{path}: there is no key {'.'.join(parents)}")
        siblings = node.keys()
    return unknown_key(path, [str(name) for name in siblings if name != "_target_"])


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
