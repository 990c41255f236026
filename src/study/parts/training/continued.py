"""Plain training that goes on from a network's present weights, a pass at a time, with other steps in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from study.parts.training.schedule import Schedule, chosen_rate, over_steps
from study.problem.problem import Problem


class ContinuedTraining:
    """Cross-entropy on the training split with the faulty model's optimizer and augmentation.

    One optimizer, one schedule and one stream of batches live through all passes, so that without anything in between
    the weights are those of `Finetune` on the same split, bit for bit.

    Args:
        model: in train mode; updated in place.
        passes: over the training split, at most.
        max_steps: gradient steps at most.
        schedule: `cosine` over all steps, after a warm-up, or `constant`.
        lr: peak rate; auto: see `chosen_rate`.
        batch_size: auto: the faulty model's.
    """

    def __init__(
        self,
        problem: Problem,
        model: nn.Module,
        *,
        passes: int,
        max_steps: int,
        schedule: Schedule,
        lr: float | Literal["auto"],
        batch_size: int | Literal["auto"],
    ) -> None:
        recipe = problem.recipe
        size = int(recipe.batch_size) if batch_size == "auto" else batch_size
        self.model = model
        self.batches = problem.train.batches(size, problem.stream("batches"))
        self.total = min(max_steps, passes * len(self.batches))
        self.taken = 0
        self._optimizer = recipe.make_optimizer(model.parameters(), chosen_rate(lr, model, recipe, schedule))
        factor = over_steps(max(1, self.total)) if schedule == "cosine" else _constant
        self._scheduler = LambdaLR(self._optimizer, factor)
        self._recipe = recipe
        self._draws = problem.stream("augmentation")

    @property
    def ended(self) -> bool:
        """Whether all steps have been taken."""
        return self.taken >= self.total

    def one_pass(self) -> Iterator[int]:
        """Train on each batch once, or until the steps are used up; yields the number of steps taken so far."""
        for batch in self.batches:
            if self.ended:
                return
            self._optimizer.zero_grad()
            inputs = self._recipe.augmented(batch.inputs, self._draws)
            functional.cross_entropy(self.model(inputs), batch.labels).backward()
            self._optimizer.step()
            self._scheduler.step()
            self.taken += 1
            yield self.taken


def _constant(step: int) -> float:
    return 1.0
