"""How far a stage of a job has come: a bar where somebody watches, a line now and then elsewhere.

A stage only counts; a thread looks at the count a few times a second and shows it. So counting costs next to nothing,
and a single step that takes minutes is seen to take them.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Literal, TextIO

TICK = 0.25
"""Seconds between two looks at the count."""
PATIENCE = 2.0
"""Seconds after which a bar appears: a shorter stage shows none."""
EVERY = 30.0
"""Seconds before the first line and between two."""

Wanted = bool | Literal["auto"]
"""True: bars; False: nothing; auto: bars on a terminal and in a notebook, lines elsewhere."""

log = logging.getLogger(__name__)
_wanted: ContextVar[Wanted | Literal["lines"]] = ContextVar("wanted", default="auto")
_inside: ContextVar[bool] = ContextVar("inside", default=False)


@contextmanager
def shown(wanted: Wanted, *, shared: bool = False) -> Iterator[None]:
    """Show the progress of the stages inside as `wanted`, in place of `auto`.

    shared: other jobs write to the same terminal, where bars would overwrite each other: `auto` means lines.
    """
    token = _wanted.set("lines" if shared and wanted == "auto" else wanted)
    try:
        yield
    finally:
        _wanted.reset(token)


def log_lines(stream: TextIO) -> None:
    """Write what this package logs, lines of progress among it, to `stream`: for commands that Hydra does not start."""
    logging.basicConfig(format="%(message)s", stream=stream)
    logging.getLogger("study").setLevel(logging.INFO)


class Progress:
    """A context manager around a stage, which counts its steps. A stage inside a stage is a part of it: not shown.

    title: what the stage does ("train the faulty model"); total: its steps at most, None if that is unknown; unit: what
    a step is, in the plural, empty where none is counted.
    """

    def __init__(self, title: str, total: float | None = None, unit: str = "steps") -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = 0.0
        self._token: Token[bool] | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def advance(self, steps: float = 1) -> None:
        """Count steps that are done."""
        self.done += steps

    def skip(self, steps: float) -> None:
        """Take steps that turn out not to be needed off the total."""
        if self.total is not None:
            self.total -= steps

    def position(self) -> tuple[float, float | None]:
        """Steps done and in all; called from another thread."""
        return self.done, self.total

    def __enter__(self) -> Progress:
        view = None if _inside.get() else _view(self.title, self.unit)
        self._token = _inside.set(True)
        if view is not None:
            self._thread = threading.Thread(target=self._watch, args=(view,), name="progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _inside.reset(self._token)
        if self._thread is not None:
            self._ended.set()
            self._thread.join()

    def _watch(self, view: _View) -> None:
        start = time.perf_counter()
        try:
            while not self._ended.wait(TICK):
                view.show(*self.position(), time.perf_counter() - start)
        finally:
            view.close()


def duration(seconds: float) -> str:
    """A time in words, as exactly as an estimate deserves.

    >>> duration(7.2), duration(100), duration(3 * 3600 + 120), duration(100 * 3600)
    ('7 s', '2 min', '3 h 2 min', '4 d 4 h')
    """
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 24 * 60 else f"{hours // 24} d {hours % 24} h"


def _view(title: str, unit: str) -> _View | None:
    wanted = _wanted.get()
    if wanted is False:
        return None
    watched = wanted is True or (wanted == "auto" and (sys.stderr.isatty() or _in_notebook()))
    return _Bar(title, unit) if watched else _Lines(title, unit)


def _in_notebook() -> bool:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def _seconds_left(done: float, total: float, elapsed: float) -> float | None:
    """At the pace so far; None before the first step."""
    return max(0.0, total - done) * elapsed / done if done else None


class _Lines:
    """A line in the log every half minute."""

    def __init__(self, title: str, unit: str) -> None:
        self.title, self.unit = title, unit
        self.due = EVERY

    def show(self, done: float, total: float | None, elapsed: float) -> None:
        """Write a line if it is due; `elapsed` in seconds."""
        if elapsed < self.due:
            return
        self.due = elapsed + EVERY
        spent = f"{duration(elapsed)} so far"
        if total:
            left = _seconds_left(done, total, elapsed)
            far, rest = f"{100 * done / total:.0f} %", spent if left is None else f"about {duration(left)} left"
            log.info("%s: %s, %s", self.title, far, rest)
        elif self.unit:
            log.info("%s: %d %s, %s", self.title, done, self.unit, spent)
        else:
            log.info("%s: %s", self.title, spent)

    def close(self) -> None:
        """Lines stay."""


class _Bar(logging.Handler):
    """A bar of tqdm that goes away with the stage; it is among the log's handlers, so as to make way for a line."""

    def __init__(self, title: str, unit: str) -> None:
        super().__init__()
        self.title, self.unit = title, unit
        self.bar: Any = None
        with warnings.catch_warnings():  # a notebook without ipywidgets gets a bar of text, and no advice
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm
        self.make = tqdm

    def show(self, done: float, total: float | None, elapsed: float) -> None:
        """Draw the bar, or without a total what is known; `elapsed` in seconds."""
        if elapsed < PATIENCE:
            return
        if self.bar is None or (self.bar.total is None) != (not total):
            self._open(None if not total else 1.0)
        spent = self.bar.format_interval(elapsed)
        if total:
            left = _seconds_left(done, total, elapsed)
            rest = "?" if left is None else self.bar.format_interval(left)
            self.bar.n = min(1.0, done / total)
            far = f"{{percentage:3.0f}}%|{{bar}}| {done:.0f}/{total:.0f} {self.unit} [{spent}<{rest}]"
        else:
            far = f"{done:.0f} {self.unit} [{spent}]" if self.unit else f"[{spent}]"
        self.bar.bar_format = f"{{desc}}: {far}"
        self.bar.refresh()

    def _open(self, total: float | None) -> None:
        self.close()
        self.bar = self.make(desc=self.title, total=total, leave=False, dynamic_ncols=True, bar_format="{desc}: ")
        if logging.root.handlers:  # an only handler would keep warnings from their way of last resort
            logging.root.handlers.insert(0, self)

    def emit(self, record: logging.LogRecord) -> None:
        """Clear the bar's line, before the other handlers write theirs."""
        if self.bar is not None:
            self.bar.clear()

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            logging.root.removeHandler(self)
            self.bar.n = self.bar.total or 0  # in a notebook a bar that is not full would stay, in red
            self.bar.close()
            self.bar = None
        super().close()


_View = _Lines | _Bar
