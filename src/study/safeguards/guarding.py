"""Putting a safeguard around a repair."""

from __future__ import annotations

import dataclasses

from torch import nn

from study.errors import NotApplicable
from study.problem.problem import Problem
from study.repairs.run import RepairResult
from study.safeguards.base import Safeguard, taken_off


def guarded(safeguard: Safeguard, problem: Problem, repair: RepairResult) -> tuple[RepairResult, nn.Module | None]:
    """A repair, and the one module of its model and the faulty one that the safeguard makes; None without a model.

    What the safeguard fitted is among the costs of the repair then, as `safeguard_NAME`. Where it cannot be put around
    this repair, the repair becomes `unadaptable`, with its reason.
    """
    if repair.model is None:
        return repair, None
    try:
        model = safeguard.guard(problem, repair.model.to(problem.device).eval())
    except NotApplicable as reason:
        refused = dataclasses.replace(repair, outcome="unadaptable", reason=str(reason), model=None, changed=False)
        return refused, None
    fitted = {f"safeguard_{name}": value for name, value in taken_off(model).items()}
    return dataclasses.replace(repair, costs={**repair.costs, **fitted}), model
