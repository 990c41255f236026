"""A stage is seen as it was asked for: a bar, a line now and then, or nothing; and nothing of it stays."""

from __future__ import annotations

import builtins
import logging
import re
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import pytest

from study.runtime import progress
from study.runtime.progress import Progress, shown


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything some hundred times as fast."""
    monkeypatch.setattr(progress, "TICK", 0.002)
    monkeypatch.setattr(progress, "PATIENCE", 0.02)
    monkeypatch.setattr(progress, "EVERY", 0.2)


class Screen:
    """A terminal, or with `watched=False` a file, that keeps what is written."""

    def __init__(self, watched: bool = True) -> None:
        self.text, self.watched = "", watched

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return self.watched

    def now(self) -> str:
        """What a person sees in the last line."""
        return self.text.rpartition("\n")[2].rpartition("\r")[2].strip()


@contextmanager
def screen(watched: bool = True) -> Iterator[Screen]:
    """A terminal (or file) as the standard error. No fixture: pytest puts its own there for each test."""
    terminal: Any = Screen(watched)
    with redirect_stderr(terminal):
        yield terminal


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged, from the start; the list grows."""
    found: list[str] = []
    watching, logger = logging.Handler(), logging.getLogger("study")
    watching.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(watching)
    yield found
    logger.removeHandler(watching)
    logger.setLevel(level)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_a_line_tells_the_share_and_the_time_left(lines: list[str]) -> None:
    with screen(watched=False), Progress("train the faulty model", 100) as stage:
        stage.advance(40)
        until(lambda: len(lines) > 1)
    assert re.fullmatch(r"train the faulty model: 40 %, about \d s left", lines[0])
    assert not threads()


def test_a_line_says_what_is_known_without_a_total(lines: list[str]) -> None:
    with screen(watched=False):
        with Progress("repair (Arachne)", unit="rounds") as stage:
            stage.advance(7)
            until(lambda: len(lines) > 0)
        with Progress("repair (Arachne)", unit=""):
            until(lambda: "rounds" not in lines[-1])
    assert re.fullmatch(r"repair \(Arachne\): 7 rounds, \d s so far", lines[0])
    assert re.fullmatch(r"repair \(Arachne\): \d s so far", lines[-1])


def test_a_stage_before_its_first_step_has_no_estimate(lines: list[str]) -> None:
    with screen(watched=False), Progress("train", 100):
        until(lambda: len(lines) > 0)
    assert re.fullmatch(r"train: 0 %, \d s so far", lines[0])


def test_steps_that_are_not_needed_leave_the_total(lines: list[str]) -> None:
    with screen(watched=False), Progress("attack (ASR)", 100) as stage:
        stage.advance(20)
        stage.skip(60)
        until(lambda: len(lines) > 0)
    assert lines[0].startswith("attack (ASR): 50 %, ")


@pytest.mark.parametrize("watched", [True, False])
def test_a_short_stage_shows_nothing(watched: bool, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 60.0)
    monkeypatch.setattr(progress, "EVERY", 60.0)
    with screen(watched) as terminal, Progress("train", 10) as stage:
        stage.advance(10)
        assert len(threads()) == 1
        time.sleep(0.05)
    assert terminal.text == "" and lines == []


def test_a_bar_tells_steps_total_and_times_and_goes_away() -> None:
    with screen() as terminal:
        with Progress("attack (ASR)", 160) as stage:
            stage.advance(40)
            until(lambda: "40/160" in terminal.now())
            assert terminal.now().startswith("attack (ASR):  25%|")
            assert re.search(r"\| 40/160 steps \[00:0\d<00:0\d\]$", terminal.now())
            stage.advance(80)
            until(lambda: "120/160" in terminal.now())
        assert terminal.now() == "" and "\n" not in terminal.text
    assert not threads()


def test_a_bar_without_a_total_counts_until_the_total_is_known() -> None:
    with screen() as terminal, Progress("repair (Arachne)", unit="rounds") as stage:
        stage.advance(12)
        until(lambda: terminal.now().startswith("repair (Arachne): 12 rounds [00:0"))
        stage.total = 24
        until(lambda: "50%|" in terminal.now() and "12/24 rounds" in terminal.now())
    assert terminal.now() == ""


def test_a_bar_makes_way_for_a_line_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    with screen() as terminal:
        console = logging.StreamHandler(terminal)
        monkeypatch.setattr(logging.root, "handlers", [console])
        with Progress("train", 100) as stage:
            stage.advance(40)
            until(lambda: "40/100" in terminal.now())
            logging.getLogger("study").warning("nothing is left")
            until(lambda: "40/100" in terminal.now())
        above = terminal.text.split("\n")[0].split("\r")
        assert above[-1] == "nothing is left" and above[-2].strip() == ""
        assert logging.root.handlers == [console]


def test_a_stage_inside_another_shows_nothing() -> None:
    with screen() as terminal:
        with Progress("train", 100), Progress("predict", 7) as inner:
            inner.advance(3)
            until(lambda: "0/100" in terminal.now())
            assert len(threads()) == 1
        assert "predict" not in terminal.text
        with Progress("predict", 7):
            until(lambda: "predict" in terminal.now())


@pytest.mark.parametrize("shared", [False, True])
def test_nothing_is_shown_where_nobody_wants_it(shared: bool, lines: list[str]) -> None:
    with screen() as terminal, shown(False, shared=shared), Progress("train", 100) as stage:
        stage.advance(50)
        assert not threads()
    assert terminal.text == "" and lines == []


def test_jobs_that_share_a_terminal_write_lines(lines: list[str]) -> None:
    with screen() as terminal, shown("auto", shared=True), Progress("train", 100):
        until(lambda: len(lines) > 0)
    assert terminal.text == ""


def test_a_bar_is_drawn_without_a_terminal_if_it_is_asked_for(lines: list[str]) -> None:
    with screen(watched=False) as terminal, shown(True), Progress("train", 100) as stage:
        stage.advance(40)
        until(lambda: "40/100" in terminal.now())
    assert lines == []


def test_a_notebook_without_widgets_gets_a_bar_and_no_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", types.ModuleType("ipykernel.zmqshell"))
    for module in ("tqdm.auto", "tqdm.autonotebook", "tqdm.notebook"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    plain = builtins.__import__

    def without_widgets(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("ipywidgets"):
            raise ImportError(name)
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_widgets)
    with warnings.catch_warnings(record=True) as told, screen(watched=False) as terminal:
        warnings.simplefilter("always")
        with Progress("train", 100) as stage:
            stage.advance(40)
            until(lambda: "40/100" in terminal.now())
    assert told == []


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, ArithmeticError])
def test_whatever_ends_a_stage_takes_its_bar_away(end: type[BaseException]) -> None:
    with screen() as terminal:
        with pytest.raises(end), Progress("train", 100) as stage:
            stage.advance(40)
            until(lambda: "40/100" in terminal.now())
            raise end
        assert terminal.now() == "" and not threads()
        with Progress("attack", 100):
            until(lambda: "attack" in terminal.now())
