"""How far to go along one direction so that most inputs get their class: no program, a control of one."""

from __future__ import annotations

import numpy as np

from study.parts.solvers.class_margins import ClassMargins
from study.parts.solvers.demands import ORDER, TOLERANCE, Change, Norm
from study.parts.solvers.linear_program import Vector


def hinge_descent(demands: ClassMargins) -> Vector:
    """The direction [n] in which the summed hinge loss of the items that miss a demand falls fastest.

    The hinge of an item is by how much it misses the worst of its rows.
    """
    rows = demands.first()
    direction: Vector = np.asarray(rows.matrix.sum(0), dtype=np.float64).ravel()
    return direction


def smallest_step(demands: ClassMargins, direction: Vector) -> float:
    """The smallest t >= 0 with which t * direction meets the demands of as many items as any t; 0: of no more than 0.

    Along the direction each row holds from some t on or up to some t: each item on one interval.
    """
    moved = demands.features @ direction.reshape(demands.floors.shape[1], -1).T  # [m, C]
    slopes = moved[np.arange(demands.items), demands.labels][:, None] - moved
    crossings = np.divide(demands.floors, slopes, out=np.zeros_like(slopes), where=slopes != 0)
    never = (slopes == 0) & (demands.floors > 0)
    starts = np.where(never, np.inf, np.where(slopes > 0, crossings, 0.0)).max(1, initial=0.0)
    ends = np.where(slopes < 0, crossings, np.inf).min(1, initial=np.inf)
    starts, ends = starts[starts <= ends], ends[starts <= ends]
    steps = np.unique(np.append(starts[np.isfinite(starts)], 0.0))
    held = np.searchsorted(np.sort(starts), steps, "right") - np.searchsorted(np.sort(ends), steps, "left")
    return float(steps[held.argmax()])


def step_along_hinge(demands: ClassMargins, norm: Norm) -> Change:
    """The smallest step down the hinge loss with which as many items as possible have what they demand.

    Left out are wanted items that miss a demand then.
    """
    direction = hinge_descent(demands)
    vector = smallest_step(demands, direction) * direction
    moved = demands.features @ vector.reshape(demands.floors.shape[1], -1).T
    leads = moved[np.arange(demands.items), demands.labels][:, None] - moved
    missing = (demands.floors - leads).max(1) > TOLERANCE
    size = float(np.linalg.norm(vector, ORDER[norm]))
    return Change(vector, size, np.flatnonzero(missing & demands.wanted), 0, 0)
