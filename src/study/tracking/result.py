"""The result file of a job: what it was, what it measured, how it ended. It is the truth; MLflow holds a copy."""

import math
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from study.errors import UsageError
from study.metrics.description import Description
from study.storage.files import write_atomically

SCHEMA = 3
"""Of the files that are written and read; it is raised when a field is added or means something else."""
RESULT, ARTIFACTS, REPAIRED = "result.json", "artifacts", "repaired"
"""The result file; the folder of what else a job leaves; in it, that of the repaired model."""

Curve = list[tuple[int, float]]
"""Points (step, value)."""
HYDRA_ONLY = ("_target_", "_convert_", "_recursive_")
"""Keys of a configuration that say how to build an object, not what was chosen."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Origin:
    """What a job started from.

    Attributes:
        faulty: Key of the faulty model.
        folder: Where its files lie, relative to the job's folder; empty where they are a checkpoint of the user's own,
            or where the job needed none. They may be gone since.
        checkpoint: SHA-256 of the user's checkpoint, else empty.
        items: Number of items in each split.
    """

    faulty: str
    folder: str = ""
    checkpoint: str = ""
    items: dict[str, int] = field(default_factory=dict)


@dataclass(kw_only=True, config=ConfigDict(ser_json_inf_nan="strings", extra="forbid"))
class Result:
    """What one job leaves behind.

    Attributes:
        key: Determined by everything that determines the job; equal keys mean equal results.
        experiment: MLflow experiment that it belongs to.
        run_name: Name in the table of runs, some 20 characters.
        status: FINISHED for every outcome, FAILED for an exception.
        tags, params: Text; params are the resolved configuration, flattened with dots.
        metrics: Rates in [0, 1], seconds, MiB. NaN is kept, infinity is left out (MLflow would store 1.8e308).
        properties: What the metrics say about themselves: of `before/NAME`, `after/NAME` and `gain/NAME` under NAME, of
            any other metric under its whole name (`time/repair`); in the order in which they are to be shown.
        not_applicable: By the same names, why a metric has no value.
        curves: What the stages logged, per name the points (step, value).
        origin: What it started from, None where an exception came before that was known.
        started, ended: Seconds since 1970.
    """

    key: str
    experiment: str
    run_name: str
    status: Literal["FINISHED", "FAILED"]
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    curves: dict[str, Curve]
    started: float
    ended: float
    properties: dict[str, Description] = field(default_factory=dict)
    not_applicable: dict[str, str] = field(default_factory=dict)
    origin: Origin | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        self.metrics = {name: value for name, value in self.metrics.items() if not math.isinf(value)}
        self.curves = {
            name: [(step, value) for step, value in curve if not math.isinf(value)]
            for name, curve in self.curves.items()
        }

    def write(self, folder: Path) -> None:
        """Write `folder/result.json`, atomically and therefore last: the artifacts beside it must be complete."""
        write_atomically(folder / RESULT, _ADAPTER.dump_json(self, indent=1) + b"\n")

    @staticmethod
    def read(folder: Path) -> "Result":
        """The result in `folder`.

        Raises:
            FileNotFoundError: The job has not ended.
            UsageError: The file is damaged or of another version.
        """
        path = folder / RESULT
        try:
            result = _ADAPTER.validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise UsageError(f"{path} is not a result file: {place + ': ' if place else ''}{first['msg']}") from error
        if result.schema != SCHEMA:
            raise UsageError(f"{path} has schema {result.schema}, and this version of study reads schema {SCHEMA}")
        return result


_ADAPTER = TypeAdapter(Result)


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """What was chosen in a nested configuration, as text by dotted name; lists stay whole."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if name in HYDRA_ONLY:
            continue
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": str(value)}
    return flat
