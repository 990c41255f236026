"""Named random streams, so that no part of a job disturbs the draws of another."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derived_seed(seed: int, *names: object) -> int:
    """Seed in [0, 2^63) that `seed` and the names of a stream determine."""
    digest = hashlib.sha256(":".join(map(str, (seed, *names))).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def stream(seed: int, *names: object) -> torch.Generator:
    """A fresh generator on the CPU; the same seed and names give the same draws on every machine and device."""
    return torch.Generator().manual_seed(derived_seed(seed, *names))


@contextmanager
def forked(seed: int, *names: object) -> Iterator[None]:
    """Run code that draws from torch's global state (layer initialisation) on a stream; the state is put back after."""
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(seed, *names))
        yield
