"""An approach with an error in it."""

from __future__ import annotations

from typing import ClassVar

from study.problem.problem import Problem
from study.repairs.approach import Approach, Level, Repair
from study.runtime.settings import settings


@settings
class Crashing(Approach):
    """Raises an exception in its second round."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "none"

    def repair(self, problem: Problem) -> Repair:
        yield {}
        raise ArithmeticError("the approach is broken")
