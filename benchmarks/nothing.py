"""An approach that does nothing: what is left of a job's time is the fixed overhead."""

from __future__ import annotations

from typing import ClassVar

from study.problem.problem import Problem
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.settings import settings


@settings
class Nothing(Approach):
    """Returns a copy of the faulty model."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "none"
    unchanged_is_result: ClassVar[bool] = True

    def repair(self, problem: Problem) -> Repair:
        yield {}
        return Repaired(problem.copy())
