"""Fine-tuning: training goes on from trained weights with the faulty model's optimizer, batch size and augmentation."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Literal

from torch import nn

from study.data.split import Split, joined
from study.parts.training.base import Training
from study.parts.training.schedule import Schedule, chosen_rate, over_steps, warm_up_and_cosine, with_schedule
from study.problem.problem import Problem
from study.problem.recipe import Auto

Data = Literal["train", "train_and_repair", "train_and_failing"]


def training_data(problem: Problem, data: Data) -> Split:
    """The training split, alone or joined with the repair set or with the part of it that fails."""
    if data == "train":
        return problem.train
    added = problem.repair_set if data == "train_and_repair" else problem.repair_set.subset(problem.failing)
    return joined(data, [problem.train, added])


class FineTuning(Training):
    """Minimises the cross-entropy on a split from a model's present weights.

    Args:
        problem: gives recipe, validation split and random streams.
        model: trained in place.
        data: what is trained on.
        epochs: passes; replaced by `steps` (gradient steps) or `seconds` (wall-clock time since `started`).
        schedule: of the rate over the whole training, however often it is interrupted and fitted again.
        lr: peak rate; auto: see `chosen_rate`.
        batch_size: auto: the recipe's.
        keep: the `last` weights, or the epoch that is best on `validation`.
        started: moment of `time.perf_counter` from which `seconds` count; None: now.
    """

    def __init__(
        self,
        problem: Problem,
        model: nn.Module,
        data: Split,
        *,
        epochs: int,
        steps: int | None = None,
        seconds: float | None = None,
        schedule: Schedule = "cosine",
        lr: float | Auto = "auto",
        batch_size: int | Auto = "auto",
        keep: Literal["last", "validation"] = "last",
        started: float | None = None,
    ) -> None:
        recipe = problem.recipe
        size = int(recipe.batch_size) if batch_size == "auto" else batch_size
        batches = data.batches(size, problem.stream("batches"))
        self.seconds = seconds
        self._started = time.perf_counter() if started is None else started
        optimization: Any = recipe.make_optimizer(model.parameters(), chosen_rate(lr, model, recipe, schedule))
        if schedule == "cosine":
            total = steps or epochs * len(batches)
            factor = over_steps(max(1, total)) if seconds is None else self._by_the_clock
            optimization = with_schedule(optimization, factor)
        super().__init__(
            model,
            batches,
            optimization,
            max_epochs=epochs if steps is None and seconds is None else -1,
            max_steps=steps or -1,
            validation=problem.validation,
            augment=partial(recipe.augmented, generator=problem.stream("augmentation")),
        )
        self.keep = keep

    def score(self) -> float | None:
        score = super().score()
        return score if self.keep == "validation" else None

    def on_train_batch_end(self, *_: Any) -> None:
        if self.seconds is not None and self._elapsed >= self.seconds:
            self.trainer.should_stop = True

    def _by_the_clock(self, step: int) -> float:
        return warm_up_and_cosine(min(1.0, self._elapsed / float(self.seconds or 1)))

    @property
    def _elapsed(self) -> float:
        return time.perf_counter() - self._started
