"""Running approaches and trainings inside a test."""

from __future__ import annotations

from study.problem.problem import Problem
from study.repairs.approach import Approach, Repaired
from study.repairs.run import RepairResult, run_repair
from study.repairs.stages import PatchingStage, Walk
from study.runtime.fit import Curves, Stage, fit
from tests.problems import HARDWARE, digits_problem


def finished(approach: Approach, problem: Problem | None = None) -> RepairResult:
    """What comes of an approach, on digits unless another problem is given."""
    return run_repair(approach, problem or digits_problem(), HARDWARE)


def driven(approach: Approach, problem: Problem) -> tuple[Repaired, Curves]:
    """What an approach returns and logs, without the rules that judge it; raises what it raises."""
    walk, curves = Walk(approach.repair(problem)), Curves()
    while not isinstance(walk.item, Repaired):
        if isinstance(walk.item, Stage):
            fit(walk.item, HARDWARE, curves)
            walk.advance()
        else:
            fit(PatchingStage(walk), HARDWARE, curves)
    return walk.item, curves


def fitted(training: Stage) -> Curves:
    """Fit one training; what it logged."""
    curves = Curves()
    fit(training, HARDWARE, curves)
    return curves
