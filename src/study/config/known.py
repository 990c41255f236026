"""The key of a job whose equal was keyed before, without torch, Lightning and the data.

A key is made of the content of the data, among others, and what reads data takes seconds to import: too long to say no
more than that a job is finished. A job that has made its key leaves a note of it, under a hash of its configuration, of
the code and of the libraries' versions. The note holds as long as the files that its data and its checkpoint come from
are the same to the file system: place, size, inode and both times of the last change.
Nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from study.config.machine import shared_out
from study.config.names import Names
from study.config.settings import resolved, settings_of
from study.config.trust import PACKAGES
from study.config.values import built
from study.errors import Damaged, UsageError
from study.runtime.hardware import Hardware
from study.storage import paths
from study.storage.checksums import read_signed, signed
from study.storage.files import key_of, write_atomically
from study.tracking.store import Store

if TYPE_CHECKING:
    from study.config.job import Job

PACKAGE = Path(__file__).parents[1]
LIBRARIES = (
    *("torch", "torchvision", "torchmetrics", "pytorch-lightning", "timm"),
    *("numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "pillow"),
)
"""Distributions whose version is part of what a note stands for."""
ASIDE = ("force", "plan", "fail_fast", "objective", "tracking")
"""Settings that change neither the key nor whether it can be made."""
MOST_FILES = 20_000
"""Files that are looked at for a note: beyond, reading the headers of so many costs more than what is saved."""
SETTLED = 1.0
"""Seconds since the last change of a file, at least: a second change in the same tick of the clock would not show."""


@dataclass(frozen=True)
class Note:
    """Where the key of the jobs with one configuration is noted."""

    file: Path

    @classmethod
    def of(cls, values: Mapping[str, Any], names: Names, hardware: Hardware) -> Note | None:
        """Of a resolved configuration; hardware: with its threads.

        None where code of the user's own, or a GPU, determines whether the job can be done.
        """
        if hardware.accelerator != "cpu" or any(name.split(".")[0] not in PACKAGES for name in _targets(values)):
            return None
        settings = {name: value for name, value in values.items() if name not in ASIDE}
        places = [str(Path.cwd()), str(paths.data_root())]
        name = key_of([settings, asdict(names), asdict(hardware), places, _code()])
        return cls(paths.cache() / "keys" / f"{name}.json")

    @property
    def key(self) -> str | None:
        """The key, None where none was noted, or a file has changed since."""
        try:
            noted = read_signed(self.file)
        except (OSError, Damaged):
            return None
        unchanged = all(_stamp(Path(place)) == stamp for place, stamp in noted["stamps"].items())
        return str(noted["key"]) if unchanged else None

    def write(self, key: str, stamps: Mapping[str, str]) -> None:
        """Note a key."""
        with contextlib.suppress(OSError):  # a full disk, for one: the key is made again
            if not self.file.exists() or self.key != key:
                write_atomically(self.file, signed({"key": key, "stamps": stamps}))


def leave_note(job: Job, key: str, stamps: Mapping[str, str] | None) -> None:
    """Note the key of a job; stamps: of its files, taken before they were read, None where that is not possible."""
    note = Note.of(job.config, job.names, job.hardware)
    if note is not None and stamps is not None:
        note.write(key, stamps)


def finished(config: DictConfig, hydra: DictConfig) -> bool:
    """Whether a composed job is known to be finished in its own store, and is not to be run again.

    False where that is not known, or something is wrong with the job, which shows when it is prepared.
    """
    try:
        values = resolved(config)
        hardware, store = built(values, "trainer", Hardware), built(values, "tracking", Store)
        if settings_of(values).force or hardware is None or store is None:
            return False
        names = Names.of(config, dict(hydra.runtime.choices), list(hydra.overrides.task), values)
        note = Note.of(values, names, shared_out(hardware, hydra.launcher))
        key = None if note is None else note.key
        return key is not None and store.finished(key)
    except UsageError:
        return False


def stamps(files: Sequence[Path] | None) -> dict[str, str] | None:
    """What the file system says of files, and of all that lies in folders; a missing one is as good as another.

    None where that is not known, is too much, or has only just changed.
    """
    found = {} if files is None else {str(place.expanduser().absolute()): _stamp(place) for place in files}
    known = {place: stamp for place, stamp in found.items() if stamp is not None}
    return None if files is None or len(known) < len(found) else known


def _stamp(place: Path) -> str | None:
    entries: list[tuple[str, int, int, int, int]] = []
    for path in _below(place):
        with contextlib.suppress(OSError):  # reading the data tells what is wrong with it
            status = path.stat()
            if max(status.st_mtime, status.st_ctime) > time.time() - SETTLED or len(entries) == MOST_FILES:
                return None
            entries.append((str(path), status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns))
    return key_of(entries)


def _below(place: Path) -> Iterator[Path]:
    """A file, or a folder and what is in it."""
    yield place
    for folder, folders, files in os.walk(place, followlinks=True):
        folders.sort()
        yield from (Path(folder, name) for name in sorted([*folders, *files]))


def _targets(value: Any) -> Iterator[str]:
    """Every name that is called."""
    for name, item in value.items() if isinstance(value, Mapping) else enumerate(value):
        if name == "_target_":
            yield str(item)
        elif isinstance(item, (Mapping, list)):
            yield from _targets(item)


@cache
def _code() -> list[str]:
    """What the code and the libraries are: read once, as every job of a sweep asks for it."""
    code = [[file.relative_to(PACKAGE).as_posix(), file.read_text()] for file in sorted(PACKAGE.rglob("*.py"))]
    return [key_of(code), sys.version, *map(_version, LIBRARIES)]


def _version(distribution: str) -> str:
    with contextlib.suppress(PackageNotFoundError):
        return f"{distribution} {version(distribution)}"
    return distribution
