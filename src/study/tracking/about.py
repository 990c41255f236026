"""What a run is about and how it ended; the one place that makes results and their tags."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from study.metrics.measured import Measured
from study.repairs.run import RepairResult
from study.runtime.fit import Curve
from study.tracking.result import Origin, Result, flattened

LONGEST_REASON = 400
"""Characters of an exception's message."""


@dataclass(frozen=True, kw_only=True)
class About:
    """Known before the job starts.

    experiment: MLflow experiment; run_name: name in its table of runs; tags: what the run is grouped by (`method`,
    `dataset`, `seed`, ...), to which the job adds its keys as soon as it knows them, so that a crash has them too;
    config: resolved; sweep: the folder of its multirun, empty for a single job; started: seconds since 1970.
    """

    experiment: str
    run_name: str
    tags: dict[str, str]
    config: Mapping[str, Any]
    sweep: str
    started: float

    def result(
        self,
        key: str,
        ending: Mapping[str, str],
        measured: Measured | None = None,
        curves: Mapping[str, Curve] = {},
        origin: Origin | None = None,
    ) -> Result:
        """The result of the job, ended now; `ending`: further tags, `outcome` among them; empty tags are left out.

        What is doubtful in a metric NAME becomes the tag `flags.NAME`.
        """
        measured = measured or Measured()
        flags = {f"flags.{name}": text for name, text in measured.flags.items()}
        tags = {**self.tags, **ending, **flags, "sweep": self.sweep, "key": key}
        return Result(
            key=key,
            experiment=self.experiment,
            run_name=self.run_name,
            status="FAILED" if ending["outcome"] == "crashed" else "FINISHED",
            tags={name: value for name, value in tags.items() if value},
            params=flattened(self.config),
            metrics=dict(measured.values),
            properties=dict(measured.descriptions),
            not_applicable=dict(measured.not_applicable),
            curves=dict(curves),
            origin=origin,
            started=self.started,
            ended=time.time(),
        )

    def crash(self, error: BaseException) -> Result:
        """The result of a job that an exception ended; it has a key of its own, so that it is run again."""
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0][:LONGEST_REASON]
        return self.result(f"crashed-{self.started:.6f}", {"outcome": "crashed", "reason": reason})


def ended(repaired: RepairResult | None, level: str, masked: bool | None, code: str) -> dict[str, str]:
    """The tags that say how a job ended, without an exception.

    Args:
        repaired: None where the faulty model was measured alone.
        level: of the approach.
        masked: whether the gradient of the measured model is masked, None if unknown.
        code: fingerprint of the present code.
    """
    if repaired is None:
        return {"level": level, "outcome": "faulty"}
    tags = {
        "level": level,
        "outcome": repaired.outcome,
        "reason": repaired.reason,
        "changed": str(repaired.changed).lower(),
        "code_changed": str(bool(repaired.code) and repaired.code != code).lower(),
    }
    return tags if masked is None else {**tags, "gradient_masking": str(masked).lower()}
