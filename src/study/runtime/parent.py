"""A process that ends with the one it works for: nobody is left to want its results, or to stop it."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal

_PR_SET_PDEATHSIG = 1


def end_with(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Let the kernel send this process the signal `number` when the process `parent`, which started it, ends.

    That holds however the parent ends, by SIGKILL too. Elsewhere than on Linux: no effect.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it ended before the kernel was told
            os.kill(os.getpid(), number)


def end_as_worker() -> None:
    """`end_with` the process that made this one with multiprocessing or joblib; no effect in any other process.

    By SIGKILL, which no library can defer: Lightning keeps SIGTERM for the end of a step. All files are written so
    that a kill does not spoil them.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        end_with(parent.pid)
