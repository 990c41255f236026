"""What a fit promises: its limits, its curves, and that Ctrl-C gets through."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from study.errors import BudgetExceeded, UsageError
from study.runtime.fit import Curves, FitProgress, Stage, fit
from study.runtime.hardware import Hardware

HARDWARE = Hardware(threads=1, progress=False)


class Counter(Stage):
    """Counts its steps and epochs, logs both, and calls `after` at the end of each step."""

    def __init__(self, after: Callable[[int], None] = lambda step: None) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.after = after
        self.loader: Iterable[Any] = range(4)
        self.taken = 0
        self.passes = 0

    def train_dataloader(self) -> Iterable[Any]:
        return self.loader

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.taken += 1
        assert self.logger is not None
        self.logger.log_metrics({"step": self.taken}, self.taken)
        self.after(self.taken)
        loss: Tensor = self.layer(torch.ones(1, 1)).sum()
        return loss

    def on_train_epoch_end(self) -> None:
        self.passes += 1
        self.log("passes", float(self.passes))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trained(
    module: Counter,
    loader: Iterable[Any],
    hardware: Hardware = HARDWARE,
    *,
    epochs: int = -1,
    steps: int = -1,
    seconds: float | None = None,
) -> Curves:
    curves = Curves()
    module.loader, module.max_epochs, module.max_steps = loader, epochs, steps
    fit(module, hardware, curves, None if seconds is None else time.perf_counter() + seconds)
    return curves


@pytest.mark.parametrize(
    ("limits", "steps", "passes"),
    [
        ({"epochs": 3}, 12, 3),
        ({"steps": 6}, 6, 2),
        ({"epochs": 1, "steps": 100}, 4, 1),
        ({"epochs": 0}, 0, 0),
        ({"steps": 0}, 0, 0),
        ({"epochs": 2, "seconds": 300.0}, 8, 2),
    ],
)
def test_a_fit_takes_the_steps_it_is_given(limits: dict[str, Any], steps: int, passes: int) -> None:
    module = Counter()
    trained(module, range(4), **limits)
    assert (module.taken, module.passes) == (steps, passes)


def test_curves_hold_what_is_logged_with_its_step() -> None:
    curves = trained(Counter(), range(3), epochs=2)
    assert curves.values["step"] == [(step, float(step)) for step in range(1, 7)]
    assert [value for _, value in curves.values["passes"]] == [1.0, 2.0]
    assert set(curves.values) == {"step", "passes"}


def test_points_without_a_step_are_numbered() -> None:
    curves = Curves()
    for value in (5, 7):
        curves.log_metrics({"a": value, "epoch": 0})
    assert curves.values == {"a": [(0, 5.0), (1, 7.0)]}


def test_a_fit_ends_at_its_time_budget() -> None:
    module = Counter(lambda step: time.sleep(0.01))
    start = time.perf_counter()
    with pytest.raises(BudgetExceeded, match=r"over its time budget"):
        trained(module, itertools.count(), seconds=0.3)
    assert time.perf_counter() - start < 10
    assert module.taken < 30


def test_a_fit_ends_at_its_memory_budget() -> None:
    module = Counter()
    with pytest.raises(BudgetExceeded, match=r"over the budget of 0.01"):
        trained(module, itertools.count(), Hardware(threads=1, progress=False, memory_gib=0.01))
    assert module.taken == 1


def test_enough_memory_is_no_limit() -> None:
    module = Counter()
    trained(module, range(3), Hardware(threads=1, progress=False, memory_gib=1000), epochs=1)
    assert module.taken == 3


def interrupt(step: int) -> None:
    if step == 3:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    time.sleep(0.01)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises: a shell starts what it runs in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_a_fit_and_the_next_one_can_be_interrupted_too() -> None:
    handler = signal.getsignal(signal.SIGINT)
    for _ in range(2):
        module, start = Counter(interrupt), time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            trained(module, itertools.count())
        assert time.perf_counter() - start < 10
        assert module.taken < 500
        assert signal.getsignal(signal.SIGINT) is handler


def test_the_handler_is_that_of_before_after_an_ordinary_end_and_after_an_exception() -> None:
    def fail(step: int) -> None:
        raise ArithmeticError("of the module")

    handler = signal.getsignal(signal.SIGINT)
    trained(Counter(), range(2), epochs=1)
    assert signal.getsignal(signal.SIGINT) is handler
    with pytest.raises(ArithmeticError, match="of the module"):
        trained(Counter(fail), range(2), epochs=1)
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_fit_works_outside_of_the_main_thread() -> None:
    module = Counter()
    thread = threading.Thread(target=trained, args=(module, range(4)), kwargs={"epochs": 1})
    thread.start()
    thread.join(60)
    assert module.taken == 4


def test_a_fit_leaves_no_files(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trained(Counter(), range(2), epochs=1)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"accelerator": "tpu"}, {"memory_gib": 0.0}, {"cores": 2}])
def test_hardware_is_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Hardware(**wrong)


def test_the_device_is_there_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert HARDWARE.device == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="trainer=gpu"):
        _ = Hardware(accelerator="gpu").device


@pytest.mark.parametrize(
    ("limits", "total"), [({"epochs": 3}, 12), ({"steps": 6}, 6), ({"epochs": 3, "steps": 100}, 12), ({}, None)]
)
def test_progress_counts_batches_of_all_epochs_up_to_the_limit(
    limits: dict[str, int], total: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[FitProgress] = []
    seen: list[tuple[float, float | None]] = []

    class Recorded(FitProgress):
        def __enter__(self) -> FitProgress:
            shown.append(self)
            return self

    def look(step: int) -> None:
        seen.append(shown[0].position())
        module.trainer.should_stop = step == 7 and total is None

    monkeypatch.setattr("study.runtime.fit.FitProgress", Recorded)
    module = Counter(look)
    trained(module, range(4), **limits)
    assert seen == [(step, total) for step in range(module.taken)]
    assert shown[0].position() == (module.taken, total)
    assert (shown[0].title, shown[0].unit) == ("train", "batches")
