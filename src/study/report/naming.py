"""Names that tell subjects, and the rows of one subject, apart."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=tuple[str, ...])
WORDS = {"None": "null", "True": "true", "False": "false"}
"""Values as tracking writes them, and as one types them."""


def natural(text: str) -> list[tuple[int, str]]:
    """What to sort by so that numbers in a text go by their size."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def shared(settings: Iterable[Mapping[str, str]], groups: tuple[str, ...]) -> dict[str, str]:
    """The settings of these groups of the configuration that several runs have in common."""
    first, *others = settings
    return {
        name: value
        for name, value in first.items()
        if name.startswith(groups) and not name.endswith("_target_") and all(own.get(name) == value for own in others)
    }


def distinct(names: Mapping[Key, str], settings: Mapping[Key, Mapping[str, str]]) -> dict[Key, str]:
    """What to add to each name so that no two are equal: the settings in which they differ, else a part of the key.

    Empty where a name is the only one of its kind.
    """
    alike: dict[str, list[Key]] = defaultdict(list)
    for key, name in names.items():
        alike[name].append(key)
    told: dict[Key, str] = {}
    for keys in alike.values():
        told |= dict.fromkeys(keys, "") if len(keys) == 1 else _told_apart(keys, settings)
    return told


def _told_apart(keys: list[Key], settings: Mapping[Key, Mapping[str, str]]) -> dict[Key, str]:
    every = sorted({name for key in keys for name in settings[key]})
    differing = [name for name in every if len({settings[key].get(name) for key in keys}) > 1]
    told = {key: _listed(settings[key], differing) for key in keys}
    if len(set(told.values())) == len(keys):
        return told
    return {key: ", ".join(filter(None, [text, "/".join(part[:6] for part in key)])) for key, text in told.items()}


def _listed(settings: Mapping[str, str], names: Iterable[str]) -> str:
    told = [f"{_short(name)}={WORDS.get(settings[name], settings[name])}" for name in names if name in settings]
    return ", ".join(dict.fromkeys(told))


def _short(name: str) -> str:
    """Of a setting of a metric its last part will do: usually several metrics share it."""
    return f"metric {name.rpartition('.')[2]}" if name.startswith("metric.") else name
