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

SCHEMA = 2
"""2: `properties` and `not_applicable`; files of schema 1 are read as if nothing were stated there."""
RESULT, ARTIFACTS = "result.json", "artifacts"

Curve = list[tuple[int, float]]
"""Points (step, value)."""


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
            UsageError: The file is damaged or of a later version.
        """
        path = folder / RESULT
        try:
            result = _ADAPTER.validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise UsageError(f"{path} is not a result file: {place + ': ' if place else ''}{first['msg']}") from error
        if result.schema not in range(1, SCHEMA + 1):
            raise UsageError(f"{path} has schema {result.schema}, and this version of study reads schema {SCHEMA}")
        return result


_ADAPTER = TypeAdapter(Result)


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested configuration as text by dotted name; lists stay whole."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": str(value)}
    return flat
