"""The inputs that a repair is given: failing ones to be made right, passing ones to be kept so."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from study.data.split import Split
from study.parts.selection.repair_inputs import failing_sample, random_passing
from study.problem.problem import Problem


@dataclass(frozen=True)
class GivenInputs:
    """Items of the repair set, the failing ones first.

    split: of these m items; indices: [m] int64, their places in the repair set; wanted: [m] bool, of the failing ones.
    """

    split: Split
    indices: Tensor
    wanted: Tensor

    @classmethod
    def of(cls, problem: Problem, points: int | None, protect: int | None) -> GivenInputs:
        """At most `points` failing ones and `protect` passing ones, both drawn at random; None: all."""
        failing = failing_sample(problem, len(problem.failing) if points is None else points)
        passing = random_passing(problem, protect, problem.stream("protected"))
        indices = torch.cat([failing, passing])
        return cls(problem.repair_set.subset(indices), indices, torch.arange(len(indices)) < len(failing))
