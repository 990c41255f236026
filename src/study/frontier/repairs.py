"""Stored repairs, found by the result files of their jobs, and their curves."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from study.api.loading import load
from study.config.stored import subject_of
from study.data.module import DataModule
from study.errors import UsageError
from study.frontier.curves import Point, best, curves_of, mean
from study.runtime.progress import Progress
from study.safeguards.interpolation import Interpolation, sample
from study.tracking.folders import Found, jobs, newest
from study.tracking.result import RESULT, Result


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A repair without a safeguard, as its job left it."""

    folder: Path
    result: Result

    @property
    def subject(self) -> str:
        """The name of what was repaired."""
        return self.result.tags["subject_name"]

    @property
    def approach(self) -> str:
        """The name of the approach with its settings."""
        return self.result.tags["approach"]

    @property
    def control(self) -> bool:
        """Whether it is plain training."""
        return self.result.tags["method"].rpartition("/")[2].startswith(("finetune", "retrained"))


@dataclass(frozen=True, kw_only=True)
class Row:
    """The curves of one approach on one subject: by safeguard and seed, and alone: repaired and broken by seed."""

    subject: str
    approach: str
    control: bool
    curves: dict[str, dict[str, Sequence[Point]]] = field(default_factory=lambda: defaultdict(dict))

    @property
    def seeds(self) -> int:
        return max(map(len, self.curves.values()))

    @property
    def means(self) -> Mapping[str, Sequence[Point]]:
        """By safeguard, the mean curve over seeds."""
        return {name: mean(list(by_seed.values())) for name, by_seed in self.curves.items()}

    @property
    def alone(self) -> Point:
        """The repair without a safeguard: the end of every curve."""
        return self.means["soft_voting"][-1]

    def best(self, limit: float) -> Point:
        """Of all safeguards, the point that repairs most at no more than `limit` negative flips."""
        return max((best(curve, limit) for curve in self.means.values()), key=lambda point: point.repaired)


def stored_repairs(
    folders: Sequence[Path], datasets: Collection[str] = (), methods: Collection[str] = ()
) -> list[Stored]:
    """The repairs under `folders` without a safeguard, of equal jobs that which started last.

    Raises:
        UsageError: A folder is missing, or there is no such repair.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder}: there is no such folder to take repairs from")
    chosen = sorted(newest(_found(folders)))
    results = [Stored(folder=folder, result=Result.read(folder)) for folder in chosen]
    kept = [stored for stored in results if _is_asked(stored.result.tags, datasets, methods)]
    if not kept:
        raise UsageError("there is no stored repair without a safeguard to draw: run jobs with safeguard=none first")
    return kept


def _found(folders: Sequence[Path]) -> Iterator[Found]:
    """The results under the folders; one that cannot be read is told and left out."""
    for folder in jobs(folders):
        if (folder / RESULT).is_file():
            try:
                yield Found.of(folder)
            except UsageError as damage:
                print(f"left out: {damage}", file=sys.stderr)


def _is_asked(tags: Mapping[str, str], datasets: Collection[str], methods: Collection[str]) -> bool:
    bare = tags.get("outcome") == "repaired" and tags.get("safeguard") == "none"
    return bare and (not datasets or tags["dataset"] in datasets) and (not methods or tags["method"] in methods)


def rows_of(repairs: Iterable[Stored], trust: Sequence[str] = ()) -> list[Row]:
    """The curves of all repairs; one that cannot be read is told in a line on stderr and left out.

    Data and faulty model are loaded once for all repairs of it.
    """
    groups: dict[tuple[str, ...], list[Stored]] = defaultdict(list)
    for stored in repairs:
        tags, origin = stored.result.tags, stored.result.origin
        groups[tags["data"], tags["split"], origin.faulty if origin else ""].append(stored)
    rows: dict[tuple[str, str], Row] = {}
    with Progress("draw the frontier", sum(map(len, groups.values())), "repairs") as progress:
        for group in groups.values():
            for stored, curves in _measured(group, trust, progress):
                tags = stored.result.tags
                row = Row(subject=stored.subject, approach=stored.approach, control=stored.control)
                for safeguard, points in curves.items():
                    rows.setdefault((tags["subject"], tags["row"]), row).curves[safeguard][tags["seed"]] = points
    return list(rows.values())


def _measured(
    group: Sequence[Stored], trust: Sequence[str], progress: Progress
) -> Iterator[tuple[Stored, Mapping[str, Sequence[Point]]]]:
    """The curves of the repairs of one faulty model; what keeps several from being read is told once."""
    subject: tuple[DataModule, nn.Module] | None = None
    told: set[str] = set()
    for stored in group:
        try:
            subject = subject or subject_of(stored.folder, trust)
            data, faulty = subject
            seed = int(stored.result.tags["seed"])
            statistics = sample(data.splits["train"], Interpolation().inputs, seed)
            yield stored, curves_of(faulty, load(stored.folder, trust), data.splits["test"], statistics, seed)
        except UsageError as reason:
            if str(reason) not in told:
                print(f"left out: {reason}", file=sys.stderr)
            told.add(str(reason))
        progress.advance()
