"""Fine-tuning: training simply goes on from the faulty weights (model level).

The control that every claim is held against: on the training split alone or with the repair inputs, for a given number
of passes, of gradient steps or of seconds, at the faulty model's own rate or with a warm-up and a cosine. Needs nothing
but a network that can be trained. No paper; published repairs by "retraining" are this.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, validate_call
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from study.data.split import Batch, Batches, Split, joined
from study.errors import UsageError
from study.parts.training.schedule import Schedule, chosen_rate, over_steps, warm_up_and_cosine
from study.problem.problem import Problem
from study.repair.approach import FineTuning, Level, Seconds

Data = Literal["train", "train_and_repair", "train_and_failing"]


class Finetune(FineTuning):
    """Minimises the cross-entropy with the faulty model's optimizer, batch size and augmentation.

    `steps` or `seconds` replace `epochs`; raises UsageError if both are set.
    """

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "control: continued training"

    @validate_call
    def __init__(
        self,
        *,
        data: Data = "train_and_repair",
        epochs: Annotated[int, Field(ge=0, le=10_000)] = 10,
        steps: Annotated[int, Field(ge=1)] | None = None,
        seconds: Annotated[float, Field(gt=0)] | None = None,
        schedule: Schedule = "cosine",
        lr: Annotated[float, Field(gt=0, le=10)] | Literal["auto"] = "auto",
        batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto",
        select: Literal["last", "validation"] = "last",
        max_seconds: Seconds = None,
    ) -> None:
        super().__init__(max_seconds=max_seconds)
        if steps is not None and seconds is not None:
            raise UsageError(f"method.steps={steps} and method.seconds={seconds:g}: set one of them, the other to null")
        self.data = data
        self.passes = epochs
        self.budget = steps
        self.seconds = seconds
        self.schedule: Schedule = schedule
        self.lr = lr
        self.batch_size = batch_size
        self.kept: Literal["last", "validation"] = select

    def begin(self, problem: Problem) -> None:
        self._start = time.perf_counter()
        super().begin(problem)
        self._split = _training_data(problem, self.data)
        self._draws = problem.stream("augmentation")

    def batches(self) -> Batches:
        size = int(self.problem.recipe.batch_size) if self.batch_size == "auto" else self.batch_size
        return self._split.batches(size, self.problem.stream("batches"))

    @property
    def epochs(self) -> int:
        return self.passes if self.steps == -1 and self.seconds is None else -1

    @property
    def steps(self) -> int:
        return -1 if self.budget is None else self.budget

    def configure_optimizers(self) -> Any:
        recipe = self.problem.recipe
        rate = chosen_rate(self.lr, self.model, recipe, self.schedule)
        optimizer = recipe.make_optimizer(self.model.parameters(), rate)
        if self.schedule == "constant":
            return optimizer
        steps = self.budget or self.passes * len(self.batches())
        factor = over_steps(max(1, steps)) if self.seconds is None else self._by_the_clock
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}

    def _by_the_clock(self, step: int) -> float:
        return warm_up_and_cosine(min(1.0, self._elapsed / float(self.seconds or 1)))

    @property
    def _elapsed(self) -> float:
        return time.perf_counter() - self._start

    def loss(self, batch: Batch) -> Tensor:
        inputs = self.problem.recipe.augmented(batch.inputs, self._draws)
        return functional.cross_entropy(self.model(inputs), batch.labels)

    def on_train_batch_end(self, *_: Any) -> None:
        if self.seconds is not None and self._elapsed >= self.seconds:
            self.trainer.should_stop = True

    def select(self, epoch: int) -> float | None:
        score = super().select(epoch)
        return score if self.kept == "validation" else None


def _training_data(problem: Problem, data: Data) -> Split:
    if data == "train":
        return problem.train
    added = problem.repair_set if data == "train_and_repair" else problem.repair_set.subset(problem.failing)
    return joined(data, [problem.train, added])
