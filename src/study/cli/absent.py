"""A sweep over data sets by a pattern, `dataset=glob(*)`: those that are not there are left out, each with a sentence.

A data set that is named and not there is a mistake, which ends the sweep before its first job; a pattern names none.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.errors import HydraException

from study.config import known
from study.config.compose import Composed, composed, parsed
from study.config.options import options
from study.config.values import check_values
from study.errors import UsageError

if TYPE_CHECKING:
    from study.data.module import DataModule

OWN_PLACES = ("root", "file")
"""Settings that say where data of the user's own lie."""


def present(argv: Sequence[str], conf: Path) -> tuple[list[str], list[Composed]]:
    """The arguments with the names of the data sets that are there in place of a pattern, and every job of them.

    What is left out, and why, is printed on stderr.

    Args:
        argv: as `compose.with_plus` returns them.
        conf: see `compose.composed`.

    Raises:
        UsageError: As `compose.composed` does, for a setting that a data set refuses, and where nothing is left.
    """
    arguments = parsed(argv)
    patterns = {text: glob for text in arguments.overrides if (glob := _pattern(text)) is not None}
    if not arguments.multirun or len(patterns) != 1:
        return list(argv), composed(arguments, conf)
    ((text, glob),) = patterns.items()
    names = _matching(glob, text, arguments.config_dir)
    jobs = composed(parsed(_naming(argv, text, names)), conf)
    lacks = {name: _lack(next(job for job in jobs if job.choices["dataset"] == name)) for name in names}
    left = [name for name in names if lacks[name] is None]
    for name in names:
        if lacks[name] is not None:
            print(f"study: skipping dataset={name}: {lacks[name]}", file=sys.stderr)
    if not left:
        raise UsageError(
            f"{text}: none of these data sets can be used; `python -m study.subjects` tells how to get one"
        )
    return _naming(argv, text, left), [job for job in jobs if job.choices["dataset"] in left]


def _pattern(text: str) -> Glob | None:
    """The pattern by which an argument chooses data sets, if it does."""
    if not text.startswith("dataset="):
        return None
    try:
        value = OverridesParser.create().parse_override(text).value()
    except HydraException:  # told when the arguments are composed
        return None
    return value if isinstance(value, Glob) else None


def offered(own: str | None) -> list[str]:
    """The names of all data sets, those in a folder of the user's own included."""
    own_names = {file.stem for file in Path(own, "dataset").glob("*.yaml")} if own else set()
    return sorted(own_names | set(options("dataset")))


def looked_at(values: Mapping[str, Any], option: str) -> tuple[DataModule, str | None]:
    """A data set, checked as far as that goes, and why it cannot be used here, None if it can.

    values: settings of the data set and, where it may follow it, the architecture, by group; option: the data set's.
    Raises UsageError for a setting that it refuses.
    """
    from study.config.instantiate import made
    from study.data.module import DataModule

    data = made(values, "dataset", DataModule)  # type: ignore[type-abstract]
    if (place := own_place(values["dataset"])) and not data.source:
        return data, f"it takes data of your own, which {place} names"
    try:
        data.adopt(values.get("architecture", {}))
        data.check()
    except UsageError as reason:
        return data, str(reason).removeprefix(f"dataset={option}: ")
    return data, None


def own_place(settings: Mapping[str, Any], prefix: str = "dataset") -> str | None:
    """The setting that would say where the data lie and does not, None where there is none."""
    for name, value in settings.items():
        if name in OWN_PLACES and value is None:
            return f"{prefix}.{name}"
        if isinstance(value, dict) and "_target_" in value:
            return own_place(value, f"{prefix}.{name}")
    return None


def _lack(job: Composed) -> str | None:
    """Why the data set of a job cannot be used here; what a job is finished with was there, which is known at once."""
    check_values(job)
    return None if known.finished(job.whole, job.hydra) else looked_at(job.values, job.choices["dataset"])[1]


def _matching(glob: Glob, text: str, own: str | None) -> list[str]:
    names: list[str] = glob.filter(offered(own))
    if not names:
        raise UsageError(f"{text}: there is no such data set; there are: {', '.join(offered(own))}")
    return names


def _naming(argv: Sequence[str], text: str, names: Sequence[str]) -> list[str]:
    return [f"dataset={','.join(names)}" if argument == text else argument for argument in argv]
