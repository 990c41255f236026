"""Memory of the process: how much a block of code takes, and how the C library hands it out."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
import resource
from pathlib import Path
from types import TracebackType

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let glibc reuse freed tensors instead of returning them to the system.

    The activations of a small network are just large enough to be mapped anew, and zeroed by the kernel, at every
    step: keeping them takes a third off the time of a training step on a CPU. Elsewhere than on glibc: no effect.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def block_size(device: torch.device) -> int:
    """Numbers that the largest tensor of one pass may hold: what fits a processor's cache, and a GPU's memory."""
    return 2**20 if device.type == "cpu" else 2**24


def release() -> None:
    """Let go of what a job leaves behind: its data set, above all, which the next job reads again.

    Lightning's Trainer and its parts refer to each other and to the loaders. Python looks for such rings the more
    rarely the more there is in memory, and meanwhile each holds one copy of the data set. On glibc what is freed goes
    back to the system. What is left the first time are modules, above all: looking through them takes 0.3 s, and is not
    done again.
    """
    gc.collect()
    if not gc.get_freeze_count():
        gc.freeze()
    _give_back()


class PeakMemory:
    """Measures how far a block raises the memory of the process above its level at entry (`mib`, in MiB).

    On a GPU: the memory allocated there. On Linux freed memory is given back and the kernel's high-water mark of the
    process is reset at entry; where that is not possible the mark of the whole process life is used, which can only
    underestimate the rise.
    """

    mib: float = 0.0

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __enter__(self) -> PeakMemory:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self._start = torch.cuda.memory_allocated(self.device) / 2**20
        else:
            _give_back()
            with contextlib.suppress(OSError):
                RESET.write_text("5")
            self._start = _high_water_mark()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.device) / 2**20
        else:
            peak = _high_water_mark()
        self.mib = max(0.0, peak - self._start)


def _give_back() -> None:
    """Return freed memory to the system, where the C library can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _high_water_mark() -> float:
    if STATUS.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())):
        return int(found.group(1)) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
