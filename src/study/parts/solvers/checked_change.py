"""Solving with a margin until every input is right in the network itself, whose numbers are coarser."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.parts.solvers.demands import Change, Solving
from study.parts.solvers.linear_program import Vector

STEP, TRIES = 10.0, 3
"""By how much the margin grows where an input is still wrong, and how often."""


@dataclass(frozen=True)
class Checked:
    """A change, the margin that it was found with, and which items ([m] bool) are right in the network."""

    change: Change
    eps: float
    right: NDArray[np.bool_]


def checked_change(
    solve: Callable[[float], Solving],
    right: Callable[[Vector], NDArray[np.bool_]],
    wanted: NDArray[np.bool_],
    eps: float,
    tries: int = TRIES,
) -> Generator[Mapping[str, float], None, Checked]:
    """The change for the margin `eps`, or for one `tries` times larger by STEP where a wanted item is still wrong.

    Items that the change leaves out may be. After the last try it is what it is: look at `right`.

    Args:
        solve: finds the change for a margin; right: which items the network with a change gets right, [m] bool.
    """
    programs = 0
    while True:
        change = yield from solve(eps)
        programs += change.programs
        correct, asked = right(change.vector), wanted.copy()
        asked[change.left_out] = False
        if tries == 0 or correct[asked].all():
            return Checked(Change(change.vector, change.size, change.left_out, change.rows, programs), eps, correct)
        eps, tries = eps * STEP, tries - 1
