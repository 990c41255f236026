"""An approach that works on for minutes, and says in which process."""

from __future__ import annotations

import os
import time
from typing import ClassVar

from study.problem.problem import Problem
from study.repairs.approach import Approach, Level, Repair
from study.runtime.settings import settings
from study.storage.paths import home

SIGN = ".working"
"""The suffix of the file in the home folder that is named after the process."""


@settings
class Sleeping(Approach):
    """Sleeps."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "none"

    def repair(self, problem: Problem) -> Repair:
        (home() / f"{os.getpid()}{SIGN}").touch()
        time.sleep(300)
        yield {}
        raise AssertionError("nobody waits for this")
