"""Retraining: fine-tuning in rounds, with other changes of the weights between one round and the next."""

from __future__ import annotations

from torch import nn

from study.parts.training.fine_tuning import FineTuning
from study.parts.training.schedule import Schedule
from study.parts.training.standing import Measure, Standing
from study.problem.problem import Problem
from study.problem.recipe import Auto


class Retraining(FineTuning):
    """Fine-tuning on the training split of which each fit is one round.

    Optimizer, schedule and order of batches go on from round to round: where nothing changes the weights in between,
    they become those of one `FineTuning` over as many passes, bit for bit.

    Attributes:
        measure: compares a model with the faulty one.
        standing: of `model` at the end of the last round; recorded.
        has_ended: whether all gradient steps have been taken.

    Args:
        problem: gives training split, recipe and random streams.
        model: trained in place.
        rounds: at most; the schedule is stretched over them.
        epochs: passes in a round.
        max_steps: gradient steps of all rounds at most; the schedule ends there.
        schedule, lr, batch_size: see `FineTuning`.
    """

    standing: Standing

    def __init__(
        self,
        problem: Problem,
        model: nn.Module,
        *,
        rounds: int,
        epochs: int,
        max_steps: int,
        schedule: Schedule = "cosine",
        lr: float | Auto = "auto",
        batch_size: int | Auto = "auto",
    ) -> None:
        size = int(problem.recipe.batch_size) if batch_size == "auto" else batch_size
        steps_per_epoch = len(problem.train.batches(size, problem.stream("batches")))
        total = min(max_steps, rounds * epochs * steps_per_epoch)
        super().__init__(
            problem, model, problem.train, epochs=epochs, steps=total, schedule=schedule, lr=lr, batch_size=size
        )
        self.max_epochs, self.total = epochs, total
        self.measure = Measure(problem)

    @property
    def has_ended(self) -> bool:
        return self.steps_taken >= self.total

    def score(self) -> None:
        """No epoch is measured: the last is kept."""

    def on_fit_end(self) -> None:
        super().on_fit_end()
        self.max_steps = self.total - self.steps_taken  # a Trainer counts from 0 in each fit
        self.standing = self.measure(self.model)
        self.record(self.standing.log(), self.steps_taken)
