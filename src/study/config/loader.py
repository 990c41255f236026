"""Hydra's loader of configurations, which composes once what many jobs share.

Of its own Hydra reads and merges some twenty files for each job of a sweep, three times over. What they come to follows
from the choices of groups and from Hydra's own settings alone: that is composed once, and a job's values are set on a
copy of it, by Hydra's own code.
"""

from __future__ import annotations

import pickle
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import hydra._internal.hydra as program
import omegaconf.base
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import CachingConfigRepository
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, grammar_parser

MOST = 1_000
"""Compositions that are kept, 25 kB each."""


class Loader(ConfigLoaderImpl):
    """Composes what Hydra's loader composes, value for value, and refuses what it refuses with the same words.

    All loaders of a process share what was composed until `forget` is called: files that change meanwhile are not read
    again.
    """

    composed: ClassVar[dict[tuple[object, ...], bytes]] = {}
    repositories: ClassVar[dict[tuple[object, ...], CachingConfigRepository]] = {}

    @classmethod
    def forget(cls) -> None:
        """Read the files again from here on: another command begins."""
        cls.composed.clear()
        cls.repositories.clear()

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        """The options of a group; Hydra copies all sources first, in case a configuration adds to them."""
        if config_name is None and not overrides:
            return self.repository.get_group_options(group_name, results_filter)
        return super().get_group_options(group_name, results_filter, config_name, overrides)

    def _load_configuration_impl(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        rest = (run_mode, from_shell, validate_sweep_overrides)
        try:
            given = [parsed(text) for text in overrides]
            repository = self._repository(config_name, [text for text in overrides if "hydra.searchpath" in text])
            plain = [_is_plain(one, repository) for one in given]
            shared = [text for text, is_plain in zip(overrides, plain, strict=True) if not is_plain]
            config = self._copy(config_name, shared, rest)
            _apply([one for one, is_plain in zip(given, plain, strict=True) if is_plain], given, config)
        except Exception:  # Hydra says what is wrong, of the first override that is
            config = super()._load_configuration_impl(config_name, overrides, *rest)
        return config

    def _copy(self, config_name: str | None, overrides: list[str], rest: tuple[Any, ...]) -> DictConfig:
        """What some overrides come to, for the caller to change."""
        key = (*self._place(), config_name, *overrides, *rest)
        if key not in self.composed:
            if len(self.composed) >= MOST:
                self.composed.clear()
            self.composed[key] = pickle.dumps(super()._load_configuration_impl(config_name, overrides, *rest))
        config: DictConfig = pickle.loads(self.composed[key])
        return config

    def _repository(self, config_name: str | None, search_path: list[str]) -> CachingConfigRepository:
        """Knows the groups of all sources; `search_path` are the overrides that add some."""
        key = (*self._place(), config_name, *search_path)
        if key not in self.repositories:
            _, self.repositories[key] = self._parse_overrides_and_create_caching_repo(config_name, search_path)
        return self.repositories[key]

    def _place(self) -> tuple[object, ...]:
        return (Path.cwd(), *((element.provider, element.path) for element in self.config_search_path.get_path()))


@lru_cache(maxsize=10 * MOST)
def parsed(text: str) -> Override:
    """An override as Hydra reads it, which is not changed afterwards."""
    (override,) = OverridesParser.create().parse_overrides([text])
    return override


def _is_plain(override: Override, repository: CachingConfigRepository) -> bool:
    """Whether an override sets a value of the configuration: it chooses no group, and is none of Hydra's own part."""
    name = override.key_or_group
    if override.is_sweep_override() or override.package is not None or re.split("[./]", name)[0] == "hydra":
        return False
    return not repository.group_exists(name)


def _apply(plain: list[Override], given: list[Override], config: DictConfig) -> None:
    """Set values in a composed configuration, and note in Hydra's part all that was given, as Hydra does."""
    ConfigLoaderImpl._apply_overrides_to_config(plain, config)
    task = [override for override in given if not override.is_hydra_override()]
    noted = config.hydra.overrides.task
    for _ in range(len(task) - len(plain)):  # in the order in which all were given
        noted.pop()
    for override in task:
        noted.append(override.input_line)
    rule = config.hydra.job.config.override_dirname
    config.hydra.job.override_dirname = get_overrides_dirname(task, rule.exclude_keys, rule.item_sep, rule.kv_sep)


setattr(program, "ConfigLoaderImpl", Loader)  # noqa: B010 (Hydra offers no place to say so)
# The same few references are read in each job of a sweep, and each reading is a run of a grammar's parser.
setattr(omegaconf.base, "parse", lru_cache(maxsize=MOST)(grammar_parser.parse))  # noqa: B010
