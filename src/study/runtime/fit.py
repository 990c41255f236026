"""Running a Lightning module: one device, no files, curves kept in memory, and Ctrl-C let through."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import pytorch_lightning as pl
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass
from pytorch_lightning.callbacks import Timer, TQDMProgressBar
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]

from study.errors import BudgetExceeded, OutOfTime, UsageError

Curve = list[tuple[int, float]]
"""Points (step, value) of one logged quantity."""


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class Hardware:
    """Where and with what a job runs (conf/trainer).

    threads: CPU threads of torch, a part of what determines a result; memory_gib: budget of the process, None without.
    """

    accelerator: Literal["cpu", "gpu"] = "cpu"
    threads: Annotated[int, Field(ge=1, le=512)] | Literal["auto"] = "auto"
    memory_gib: Annotated[float, Field(gt=0)] | None = None
    progress: bool | Literal["auto"] = "auto"

    @property
    def device(self) -> torch.device:
        """The torch device; raises UsageError for a GPU that is not there."""
        if self.accelerator == "cpu":
            return torch.device("cpu")
        if not torch.cuda.is_available():
            raise UsageError("trainer=gpu: torch sees no GPU on this machine; leave trainer out to run on the CPU")
        return torch.device("cuda", 0)

    @property
    def shows_progress(self) -> bool:
        """Whether to draw a progress bar: where somebody watches, unless it is set."""
        return sys.stderr.isatty() if self.progress == "auto" else self.progress


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


def fit(
    module: pl.LightningModule,
    hardware: Hardware,
    *,
    loader: Iterable[Any],
    curves: Curves,
    epochs: int = -1,
    steps: int = -1,
    seconds: float | None = None,
) -> None:
    """Train `module` for `epochs` passes or `steps` batches over `loader` (-1: no such limit).

    Raises BudgetExceeded after `seconds` of wall-clock time or over the memory budget, KeyboardInterrupt on Ctrl-C.
    """
    _quieten()
    callbacks: list[pl.Callback] = []
    timer = Timer(timedelta(seconds=seconds), interval="step", verbose=False) if seconds is not None else None
    if timer is not None:
        callbacks.append(timer)
    if hardware.memory_gib is not None:
        callbacks.append(MemoryBudget(hardware.memory_gib))
    if hardware.shows_progress:
        callbacks.append(TQDMProgressBar(refresh_rate=10, leave=False))
    trainer = pl.Trainer(
        accelerator="gpu" if hardware.accelerator == "gpu" else "cpu",
        devices=1,
        max_epochs=epochs,
        max_steps=steps,
        logger=curves,
        callbacks=callbacks,
        log_every_n_steps=50,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=hardware.shows_progress,
        num_sanity_val_steps=0,
        plugins=[LightningEnvironment()],  # one process per job, on a cluster too: its own detection is not wanted
        inference_mode=False,
    )
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, train_dataloaders=loader)
    except SystemExit as end:  # Lightning turns Ctrl-C into this, and ignores further ones
        raise KeyboardInterrupt from end
    finally:
        if handler is not None:
            _restore(handler)
    module.to(hardware.device)  # Lightning takes it off a GPU at the end
    if timer is not None and (timer.time_remaining() or 0.0) <= 0.0:
        raise OutOfTime(f"ran over its time budget of {seconds:g} s")


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
    ):
        warnings.filterwarnings("ignore", message=message)
