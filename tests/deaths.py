"""Processes that are killed at a named moment, in a fork of the test's own process: a fresh one takes six seconds."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn

LONGEST = 60
"""Seconds that the work may take to come to its moment."""


def die(*_: Any, **__: Any) -> NoReturn:
    """SIGKILL to this process, as a function to put in place of the one whose moment it is."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process goes on")


def killed(work: Callable[[], object]) -> None:
    """Do `work` in a child that must not survive it."""
    child = os.fork()
    if not child:
        signal.alarm(LONGEST)
        try:
            work()
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, "the work ended before the moment came"
