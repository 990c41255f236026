"""Fitting a stage with Lightning: one device, no files, curves kept in memory, a deadline, and Ctrl-C let through."""

from __future__ import annotations

import logging
import math
import os
import signal
import time
import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]
from torch import Tensor

from study.errors import BudgetExceeded, OutOfTime
from study.runtime.hardware import Hardware
from study.runtime.progress import Progress

Curve = list[tuple[int, float]]
"""Points (step, value) of one logged quantity."""


class Stage(pl.LightningModule):
    """What one Trainer fits: a module that brings its own `train_dataloader` and its own limits.

    max_epochs: passes over the loader, max_steps: optimizer steps; -1: no such limit; steps_taken: gradient steps taken
    in all fits so far; unit: what one item of its loader is, in the plural, as progress is counted in.
    """

    max_epochs: int = -1
    max_steps: int = -1
    steps_taken: int = 0
    unit: ClassVar[str] = "batches"

    def __setattr__(self, name: str, value: Any) -> None:
        """As torch's own, but for the name of the present hook, which Lightning notes twenty times in each step."""
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def record(self, values: Mapping[str, float | Tensor], step: int) -> None:
        """Add a point to the curve of each of `values`, at `step`."""
        if self.logger is not None:
            self.logger.log_metrics({name: float(value) for name, value in values.items()}, step)

    def on_fit_start(self) -> None:
        """Lightning leaves each submodule in the mode it is in: a network copied in eval mode would stay frozen."""
        self.train()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Splits deliver batches where the model is."""
        return batch


@dataclass
class Curves(Logger):
    """Keeps what a stage logs in memory; the job writes it to the store in one batch at the end."""

    values: dict[str, Curve] = field(default_factory=lambda: defaultdict(list))

    @property
    def name(self) -> str:
        return "curves"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a point to each quantity's curve; Lightning's own `epoch` counter is left out."""
        for name, value in metrics.items():
            if name != "epoch":
                curve = self.values[name]
                curve.append((len(curve) if step is None else step, float(value)))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Hyperparameters are the job's to record."""


class MemoryBudget(pl.Callback):
    """Stops a stage whose process holds more memory than its budget."""

    def __init__(self, gib: float) -> None:
        self.gib = gib

    def on_train_batch_end(self, *_: Any) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        resident = pages * os.sysconf("SC_PAGE_SIZE") / 2**30
        if resident > self.gib:
            raise BudgetExceeded(f"held {resident:.1f} GiB of memory, over the budget of {self.gib:g}")


class Deadline(pl.Callback):
    """Stops a stage at a moment of `time.perf_counter`, after the batch that passes it and before any validation.

    Lightning's own Timer lets the epoch end as usual, which may cost a pass over the validation split.
    """

    def __init__(self, moment: float) -> None:
        self.moment = moment

    def on_train_batch_end(self, *_: Any) -> None:
        if time.perf_counter() >= self.moment:
            raise OutOfTime("ran over its time budget")


class FitProgress(Progress):
    """Progress of a fit in batches, read off its Trainer: a callback would cost every step some of its time."""

    def __init__(self, title: str, stage: Stage, trainer: pl.Trainer) -> None:
        super().__init__(title, unit=stage.unit)
        self.trainer = trainer

    def position(self) -> tuple[float, float | None]:
        """Batches done and, where epochs or steps are limited, in all."""
        trainer = self.trainer
        done = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        limits = []
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            limits.append(trainer.max_epochs * float(trainer.num_training_batches))
        if trainer.max_steps > 0:
            per_batch = trainer.global_step / done if done and trainer.global_step else 1
            limits.append(trainer.max_steps / per_batch)
        total = min(limits, default=math.inf)
        return done, None if math.isinf(total) else total


def fit(stage: Stage, hardware: Hardware, curves: Curves, deadline: float | None = None, title: str = "train") -> None:
    """Fit `stage` until its `max_epochs` or `max_steps`, or until it stops itself; its progress is shown as `title`.

    Raises OutOfTime at `deadline` (a moment of `time.perf_counter`), BudgetExceeded over the memory budget,
    KeyboardInterrupt on Ctrl-C.
    """
    _quieten()
    callbacks: list[pl.Callback] = []
    if deadline is not None:
        callbacks.append(Deadline(deadline))
    if hardware.memory_gib is not None:
        callbacks.append(MemoryBudget(hardware.memory_gib))
    trainer = pl.Trainer(
        accelerator="gpu" if hardware.accelerator == "gpu" else "cpu",
        devices=1,
        max_epochs=stage.max_epochs,
        max_steps=stage.max_steps,
        logger=curves,
        callbacks=callbacks,
        log_every_n_steps=50,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        plugins=[LightningEnvironment()],  # one process per job, on a cluster too: its own detection is not wanted
        inference_mode=False,
    )
    handler = signal.getsignal(signal.SIGINT)
    try:
        with FitProgress(title, stage, trainer):
            trainer.fit(stage)
    except SystemExit as end:  # Lightning turns Ctrl-C into this, and ignores further ones
        raise KeyboardInterrupt from end
    finally:
        if handler is not None:
            _restore(handler)
    stage.to(hardware.device)  # Lightning takes it off a GPU at the end


def _restore(handler: Any) -> None:
    """Put the interrupt handler back; only the main thread may, and only it could have lost it."""
    try:
        signal.signal(signal.SIGINT, handler)
    except ValueError:
        logging.getLogger(__name__).debug("not in the main thread: the interrupt handler stays")


def _quieten() -> None:
    """Silence Lightning's advice that does not apply: no worker processes, no optimizer in a search, few batches."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    for name in ("lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in (
        r".*does not have many workers.*",
        r".*configure_optimizers` returned `None`.*",
        r".*The number of training batches.*",
        r".*GPU available but not used.*",
        r".*`srun` command is available.*",
        r".*Trying to infer the `batch_size`.*",
        r".*isinstance\(treespec, LeafSpec\).*",
        r".*in eval mode at the start of training.*",  # a stage says itself what it trains, see on_fit_start
    ):
        warnings.filterwarnings("ignore", message=message)
