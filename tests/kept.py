"""What is made once per process from files that do not change while the tests run: the project's, and Hydra's own."""

from __future__ import annotations

import pickle
from typing import Any, Protocol

from hydra.plugins.config_source import ConfigResult

from study.storage.paths import conf_folder


class Kept(dict[tuple[object, ...], Any]):
    """What `study.config.loader` keeps, for any current folder: `clear` leaves what no files of a user's own enter."""

    def clear(self) -> None:
        for key in [key for key in self if any("hydra.searchpath" in str(part) for part in key)]:
            del self[key]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, tuple) and super().__contains__(key[1:])

    def __setitem__(self, key: tuple[object, ...], value: Any) -> None:
        super().__setitem__(key[1:], value)

    def __getitem__(self, key: tuple[object, ...]) -> Any:
        value = super().__getitem__(key[1:])
        if not isinstance(value, bytes):
            return value
        config = pickle.loads(value)
        config.hydra.runtime.cwd = str(key[0])
        return pickle.dumps(config)


class Load(Protocol):
    """How a source of Hydra's reads a file."""

    def __call__(self, source: Any, config_path: str) -> ConfigResult: ...


def parsed_once(load: Load) -> Load:
    """Hydra's reading of a file, which is a third of the time of a composition."""
    places, parsed = (str(conf_folder()), "hydra.conf"), dict[tuple[str, str, str], bytes]()

    def load_config(source: Any, config_path: str) -> ConfigResult:
        if source.path not in places:
            return load(source, config_path)
        key = (source.provider, source.path, config_path)
        if key not in parsed:
            parsed[key] = pickle.dumps(load(source, config_path))
        result: ConfigResult = pickle.loads(parsed[key])
        return result

    return load_config
