"""An approach with an error in it."""

from __future__ import annotations

from typing import ClassVar

from study.problem.problem import Problem
from study.repair.approach import Level, Patching, Rounds


class Crashing(Patching):
    """Raises an exception in its first round."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "none"

    def rounds(self, problem: Problem) -> Rounds:
        yield {}
        raise ArithmeticError("the approach is broken")
