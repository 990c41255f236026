"""Fine-tuning: training simply goes on from the faulty weights (model level).

The control that every claim is held against: on the training split alone or with the repair set, for a given number of
passes, of gradient steps or of seconds, at the faulty model's own rate or with a warm-up and a cosine. Needs nothing
but a network that can be trained. No paper; published repairs by "retraining" are this.
"""

from __future__ import annotations

import time
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from study.errors import UsageError
from study.parts.training.fine_tuning import Data, FineTuning, training_data
from study.parts.training.schedule import Schedule
from study.problem.problem import Problem
from study.problem.recipe import Auto
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.settings import settings


@settings
class Finetune(Approach):
    """Minimises the cross-entropy with the faulty model's optimizer, batch size and augmentation.

    `steps` or `seconds` replace `epochs`; raises UsageError if both are set.
    """

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "control: continued training"

    data: Data = "train_and_repair"
    epochs: Annotated[int, Field(ge=0, le=10_000)] = 10
    steps: Annotated[int, Field(ge=1)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None
    schedule: Schedule = "cosine"
    lr: Annotated[float, Field(gt=0, le=10)] | Auto = "auto"
    batch_size: Annotated[int, Field(ge=1)] | Auto = "auto"
    select: Literal["last", "validation"] = "last"

    def __post_init__(self) -> None:
        if self.steps is not None and self.seconds is not None:
            both = f"method.steps={self.steps} and method.seconds={self.seconds:g}"
            raise UsageError(f"{both}: set one of them, the other to null")

    def repair(self, problem: Problem) -> Repair:
        started = time.perf_counter()
        training = FineTuning(
            problem,
            problem.copy(),
            training_data(problem, self.data),
            epochs=self.epochs,
            steps=self.steps,
            seconds=self.seconds,
            schedule=self.schedule,
            lr=self.lr,
            batch_size=self.batch_size,
            keep=self.select,
            started=started,
        )
        yield training
        return Repaired(training.model)
