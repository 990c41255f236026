"""Retraining: the same network trained again from scratch with another seed (model level).

The floor of negative flips: two trainings that differ in nothing but their seed answer some inputs differently, and a
repair that flips as many keeps no more of the faulty model than another seed does. It sees no repair input: its repair
rate is what another seed gets right by itself. Needs a network that can be newly initialised. No paper.
"""

from __future__ import annotations

from typing import ClassVar

from study.errors import NotApplicable
from study.problem.faulty import FaultyTraining
from study.problem.problem import Problem
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.settings import settings


@settings
class Retrained(Approach):
    """Trains as the faulty model was trained, from another initialisation and with other batches; the epoch that is
    best on validation is handed over, whatever it repairs."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "control: another seed"
    unchanged_is_result: ClassVar[bool] = True

    def repair(self, problem: Problem) -> Repair:
        seed = problem.seed_of("retrained")
        model = problem.fresh(seed)
        if model is None:
            raise NotApplicable("the network cannot be newly initialised: it was handed over as a finished module")
        training = FaultyTraining(model, problem.recipe, problem.train, problem.validation, seed, "validation/accuracy")
        yield training
        training.best.restore(model)
        return Repaired(model)
