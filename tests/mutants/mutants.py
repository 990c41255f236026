"""Wrong algorithms made by hand: one place of the package that is broken, and the tests that have to see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

LISTS = Path(__file__).parent
KEYS = {"breaks", "text", "becomes", "tests"}


class BadList(Exception):
    """A list of mutants that says something else than it should."""


@dataclass(frozen=True)
class Mutant:
    """`text` becomes `becomes` in `file` of the package; `tests`: files below tests/; breaks: what is wrong then."""

    file: str
    breaks: str
    text: str
    becomes: str
    tests: tuple[str, ...]

    @property
    def group(self) -> str:
        """The folder of the file."""
        return str(Path(self.file).parent)

    def applied(self, source: str) -> str:
        """The mutated source; raises BadList where the text does not stand in it exactly once, or nothing changes."""
        if (found := source.count(self.text)) != 1:
            raise BadList(f"{self.file}: {self.text!r} stands there {found} times ({self.breaks})")
        if self.text == self.becomes:
            raise BadList(f"{self.file}: nothing changes ({self.breaks})")
        return source.replace(self.text, self.becomes)


def listed(folder: Path = LISTS, names: tuple[str, ...] = ()) -> list[Mutant]:
    """The mutants of the lists `names` in a folder (all without names): by file, then `breaks`, `text`, `becomes`.

    `tests` may name the test files; without it that is the one at the same place below tests/.
    """
    paths = [folder / f"{name}.yaml" for name in names] or sorted(folder.glob("*.yaml"))
    return [mutant for path in paths for mutant in _read(path)]


def _read(path: Path) -> Iterator[Mutant]:
    if not path.is_file():
        raise BadList(f"{path}: there is no such list")
    for file, entries in yaml.safe_load(path.read_text()).items():
        for entry in entries:
            yield _mutant(file, entry)


def _mutant(file: str, entry: dict[str, Any]) -> Mutant:
    if not {"breaks", "text", "becomes"} <= set(entry) <= KEYS:
        raise BadList(f"{file}: an entry has {sorted(entry)}, not breaks, text, becomes and perhaps tests")
    usual = Path(file).with_name(f"test_{Path(file).name}")
    tests = tuple(entry.get("tests", [str(usual)]))
    return Mutant(file, entry["breaks"], entry["text"], entry["becomes"], tests)
