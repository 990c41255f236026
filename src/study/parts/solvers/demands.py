"""What is demanded of a change u: sparse linear inequalities M u >= r, asked for as they are needed."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from study.parts.solvers.linear_program import NoOptimum, Vector

Norm = Literal["linf", "l1", "l2"]
Items = NDArray[np.int64]
Result = TypeVar("Result")
ORDER: dict[Norm, float] = {"linf": np.inf, "l1": 1, "l2": 2}
"""The norms as numpy knows them."""
TOLERANCE = 1e-6
"""By how much a demand may be missed."""
KEEPS = -1
"""Owner of a demand that u = 0 satisfies: it is never left out."""
_SPREAD = 1e-3
"""How far the prices of the numbers lie apart: a least sum is exact up to this share."""


class Rows(NamedTuple):
    """Demands matrix @ u >= floors: matrix [R, n] in CSR form, floors [R], and which item makes each, owners [R].

    An owner is an item's number, or KEEPS.
    """

    matrix: csr_array
    floors: Vector
    owners: Items


class Demands(Protocol):
    """What is demanded of a vector u, by items and by nobody in particular."""

    @property
    def width(self) -> int:
        """Numbers of u, n."""
        ...

    @property
    def items(self) -> int:
        """How many items there are; they are numbered from 0."""
        ...

    def first(self) -> Rows:
        """The rows to start with."""
        ...

    def violated(self, change: Vector, missed: Vector | None = None) -> Rows:
        """The worst of the rows that `change` [n] misses by more than TOLERANCE; none where it misses none.

        missed: [items], by how much each item's rows may be missed besides.
        """
        ...

    def without(self, items: Items) -> Demands:
        """The demands without those that the given items own; items keep their numbers."""
        ...


@dataclass(frozen=True)
class Change:
    """A smallest change.

    vector: [n]; size: its norm; left_out: items whose demands could not be met beside the others', ascending; rows:
    demands of the largest program; programs: how many were solved.
    """

    vector: Vector
    size: float
    left_out: Items
    rows: int
    programs: int


Solving = Generator[Mapping[str, float], None, Change]
"""A search for the smallest change: yields what to log after each program, returns the change."""


class Clock:
    """Counts down from a number of seconds, None: from infinity."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """Seconds left, at least 0."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def check(self) -> None:
        """Raises NoOptimum where no time is left."""
        if self.left == 0.0:
            raise NoOptimum("out of time")


def ended(search: Generator[object, None, Result]) -> Result:
    """What a search returns, nothing of it logged."""
    while True:
        try:
            next(search)
        except StopIteration as end:
            result: Result = end.value
            return result


def prices(width: int) -> Vector:
    """Costs [width] of numbers whose sum is minimised, all but equal.

    Where raising one number or lowering another does the same, the cheaper moves. With equal costs the optimum would
    not be unique, and the order of the rows would choose it.
    """
    costs: Vector = 1 + _SPREAD * np.modf(np.arange(width) * (np.sqrt(5) - 1) / 2)[0]
    return costs


def worst(by: Vector, count: int) -> Items:
    """The places of the `count` largest of those misses `by` [R] that are above TOLERANCE, the largest first."""
    places = np.flatnonzero(by > TOLERANCE)
    largest: Items = places[np.argsort(-by[places], kind="stable")[:count]]
    return largest


def check_progress(vector: Vector, before: Vector | None) -> None:
    """Raises NoOptimum where the rows that a solution missed have been added and have not moved it.

    The solver then takes them for met: its tolerance is relative to the scale of the program.
    """
    if before is not None and np.array_equal(vector, before):
        raise NoOptimum("numerical trouble")
