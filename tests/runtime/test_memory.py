"""The peak of a block's memory, measured on blocks that take a known amount."""

from __future__ import annotations

import gc
import mmap
import os
import sys
from pathlib import Path

import pytest
import torch

from study.runtime.memory import RESET, PeakMemory, keep_freed_memory, release

CPU = torch.device("cpu")
MIB = 2**20
resettable = pytest.mark.skipif(not os.access(RESET, os.W_OK), reason="the kernel's high-water mark cannot be reset")


def take(mib: int) -> None:
    """Take fresh pages: an allocator that keeps what was freed, as jobs tell it to, would hand out old ones."""
    with mmap.mmap(-1, mib * MIB) as pages:
        for _ in range(mib):
            pages.write(b"\1" * MIB)


@resettable
def test_a_peak_that_is_gone_at_the_end_is_seen() -> None:
    with PeakMemory(CPU) as memory:
        take(64)
        take(32)
    assert 60 < memory.mib < 90


@resettable
def test_an_earlier_and_higher_peak_does_not_hide_it() -> None:
    take(128)
    with PeakMemory(CPU) as memory:
        take(32)
    assert 28 < memory.mib < 60


@resettable
def test_what_was_held_before_does_not_count() -> None:
    held = torch.ones(64 * MIB, dtype=torch.uint8)
    with PeakMemory(CPU) as memory:
        take(1)
    assert memory.mib < 32
    assert len(held) == 64 * MIB


def test_a_block_that_raises_is_measured_too() -> None:
    memory = PeakMemory(CPU)
    with pytest.raises(ValueError, match="inside"), memory:
        take(64)
        raise ValueError("inside")
    assert memory.mib >= 0


def test_freed_memory_can_be_kept_more_than_once() -> None:
    keep_freed_memory()
    keep_freed_memory()
    with PeakMemory(CPU) as memory:
        take(32)
    assert memory.mib >= 0


class Ring:
    """Refers to itself, as a Trainer does through its parts."""

    def __init__(self) -> None:
        self.ring, self.data = self, torch.ones(64 * MIB, dtype=torch.uint8)


def resident() -> float:
    """Memory that the process holds, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_what_a_ring_of_objects_holds_goes_back_to_the_system() -> None:
    keep_freed_memory()
    release()
    before = resident()
    Ring()
    assert resident() - before > 60
    release()
    assert resident() - before < 8


def test_what_was_there_before_the_first_job_ended_is_looked_through_once() -> None:
    release()
    frozen = gc.get_freeze_count()
    held = Ring()
    release()
    assert gc.get_freeze_count() == frozen > 10_000
    assert any(found is held for found in gc.get_objects())
