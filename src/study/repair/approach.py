"""The contract of an approach.

An approach is a LightningModule of one of two kinds: `FineTuning` is ordinary training (a loader, a loss, an
optimizer); `Patching` is a generator `rounds` that reads like the paper. An approach of several phases yields them
from `stages`, each fitted by a Trainer of its own. `repaired` returns the result: a module with the call signature
of the faulty model, never that model changed in place.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import pytorch_lightning as pl
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch, Batches
from study.errors import RepairFailed
from study.problem.prediction import predict
from study.problem.problem import Problem, TaskSpec

Level = Literal["model", "layer", "neuron"]
Log = Mapping[str, float | Tensor]
Rounds = Generator[Log, None, nn.Module]
Seconds = Annotated[float, Field(gt=0)] | None
"""Wall-clock budget of a repair; running over it is the outcome `corrupted`. None: no limit."""


class Stage(pl.LightningModule):
    """One phase of an approach, fitted by a Trainer of its own."""

    problem: Problem

    def begin(self, problem: Problem) -> None:
        """Called once, before fitting: keep the problem and build what training needs."""
        self.problem = problem

    def batches(self) -> Iterable[Any]:
        """What the Trainer iterates over; built anew for each fit."""
        raise NotImplementedError

    @property
    def epochs(self) -> int:
        """Passes over `batches`; -1: no limit."""
        return -1

    @property
    def steps(self) -> int:
        """Optimizer steps at most; -1: no limit."""
        return -1

    def record(self, values: Log, step: int) -> None:
        """Add points to the stage's curves."""
        if self.logger is not None:
            self.logger.log_metrics({name: float(value) for name, value in values.items()}, step)

    def on_fit_start(self) -> None:
        """Lightning leaves each submodule in the mode it is in: a network copied in eval mode would stay frozen."""
        self.train()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Splits deliver batches where the model is."""
        return batch


class Approach(Stage):
    """What every approach promises, whatever its kind.

    Class attributes: `level`; `source`, the paper; `unchanged_is_result`, whether a model that repairs no failing input
    counts as a result (the approach's card says so) instead of a failure.
    """

    level: ClassVar[Level]
    source: ClassVar[str]
    unchanged_is_result: ClassVar[bool] = False

    def __init__(self, *, max_seconds: float | None = None) -> None:
        super().__init__()
        self.max_seconds = max_seconds

    def check(self, task: TaskSpec) -> None:
        """Look at the subject's structure alone; raise NotApplicable if the approach cannot be applied to it."""

    def stages(self, problem: Problem) -> Iterator[Stage]:
        """The phases in order; a later one is asked for when the earlier ones have been fitted."""
        yield self

    def repaired(self) -> nn.Module:
        """The repaired model in eval mode; raises RepairFailed if there is none."""
        raise NotImplementedError

    def costs(self) -> Log:
        """What the repair used beside time and memory: `steps`, `labels`, ... (logged as cost/NAME)."""
        return {}

    def pictures(self) -> Mapping[str, Any]:
        """Matplotlib figures to log, by name."""
        return {}


class FineTuning(Approach):
    """Ordinary training, started from the faulty weights.

    A subclass says what a batch costs (`loss`), and may say more: its `batches`, `configure_optimizers`, `select`.
    `self.model` is the network in training.
    """

    model: nn.Module
    automatic_optimization = True
    _taken: int = 0

    def begin(self, problem: Problem) -> None:
        super().begin(problem)
        self.model = problem.copy()
        self._best: tuple[float, dict[str, Tensor]] | None = None
        self._taken = 0

    def loss(self, batch: Batch) -> Tensor:
        """Cost of a batch, a scalar; cross-entropy unless the approach says otherwise."""
        return functional.cross_entropy(self.model(batch.inputs), batch.labels)

    def batches(self) -> Batches:
        size = int(self.problem.recipe.batch_size)
        return self.problem.train.batches(size, self.problem.stream("batches"))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self._taken += 1
        return self.loss(batch)

    def configure_optimizers(self) -> Any:
        return self.problem.recipe.make_optimizer(self.model.parameters())

    def select(self, epoch: int) -> float | None:
        """Score of the epoch that has just ended (the highest is kept, ties: the earliest); None: keep the last."""
        right, _ = self.validated()
        return right

    def validated(self) -> tuple[float, float]:
        """Accuracy and cross-entropy of the network on the validation split, recorded."""
        logits, labels = predict(self.model, self.problem.validation), self.problem.validation.labels
        right = (logits.argmax(1) == labels).double().mean().item()
        loss = functional.cross_entropy(logits, labels).item()
        self.record({"validation/accuracy": right, "validation/loss": loss}, self._taken)
        return right, loss

    def on_train_epoch_end(self) -> None:
        score = self.select(self.current_epoch)
        if score is not None and (self._best is None or score > self._best[0]):
            self._best = (score, {name: tensor.clone() for name, tensor in self.model.state_dict().items()})

    def repaired(self) -> nn.Module:
        if self._best is not None:
            self.model.load_state_dict(self._best[1])
        return self.model.eval()

    def costs(self) -> Log:
        return {"steps": self._taken}


class Patching(Approach):
    """A search or construction, written as a generator.

    `rounds` yields a dictionary to log after each round (a generation, a linear program, a neuron) and returns the
    repaired model; each `training_step` advances it by one, so that progress, time limit and logging are Lightning's.
    """

    automatic_optimization = False

    def rounds(self, problem: Problem) -> Rounds:
        """The approach, step by step; returns the repaired model, raises RepairFailed if it finds none."""
        raise NotImplementedError

    def begin(self, problem: Problem) -> None:
        super().begin(problem)
        self._generator = self.rounds(problem)
        self._result: list[nn.Module] = []  # in a list: Lightning moves what is an attribute off the device at the end

    def batches(self) -> Iterable[int]:
        return itertools.count()

    def training_step(self, batch: int, batch_idx: int) -> None:
        try:
            with torch.enable_grad():
                values = next(self._generator)
        except StopIteration as end:
            self._result = [] if end.value is None else [end.value]
            self.trainer.should_stop = True
        else:
            self.record(values, batch_idx)

    def configure_optimizers(self) -> None:
        """A patching approach has no optimizer of Lightning's."""

    def repaired(self) -> nn.Module:
        if not self._result:
            raise RepairFailed("its search ended without a result")
        return self._result[0].eval()
