"""The change with the least sum of its maximum norm and its mean absolute value, as PRDNN's and APRNN's code have it.

PRDNN norms the change u of the parameters alone, APRNN u and the changes of the outputs that it causes, as one vector q
of N numbers: min |q|_inf + |q|_1 / N.

Sources: M. Sotoudeh, A. V. Thakur, PLDI 2021; Z. Tao et al., PLDI 2023 (both norms: the code). W. Dinkelbach, "On
Nonlinear Fractional Programming", Management Science 13 (7), 1967.

Where we differ from the code, to the same optimum: rows are added as they are needed, as in least_change.py; |q| is
not a variable and two rows for each number, but u is a difference of two variables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import block_diag, csr_array, eye_array, hstack

from study.parts.solvers.contradictions import met_by_most
from study.parts.solvers.demands import TOLERANCE, Change, Clock, Demands, Items, Solving, check_progress
from study.parts.solvers.linear_program import LinearProgram, Vector

_LARGEST_SCALE = 1e9
_LEAST_GAIN = 1e-9
"""Relative: a smaller one is the solver's rounding."""
_NOBODY: Items = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Effects:
    """The changes last @ (first @ u) of some outputs by a change u [n]: first [h, n], last [o, h], float64.

    In two factors because the product has many more entries: every weight of a layer moves every output.
    """

    first: csr_array
    last: csr_array

    @classmethod
    def of_two_layers(cls, inputs: Vector, on: NDArray[np.bool_], weights: Vector, *, biases: bool) -> Effects:
        """Of a layer, ReLUs that keep their state, and a last Linear layer: m * C logits, input by input.

        u holds the rows [p, d] of the layer one after another and then, with `biases`, those of the last layer, [C].

        Args:
            inputs: [m, d], of the layer; a last column of ones where it has a bias.
            on: [m, p], whether a ReLU is on; weights: [C, p], of the last layer.
        """
        (count, units), classes, width = on.shape, len(weights), inputs.shape[1]
        items, rows = np.nonzero(on)
        columns = rows[:, None] * width + np.arange(width)
        starts = np.arange(len(items) + 1) * width
        first = csr_array((inputs[items].ravel(), columns.ravel(), starts), shape=(len(items), units * width))
        first.eliminate_zeros()
        logits = (items[:, None] * classes + np.arange(classes)).ravel()
        values: Vector = weights.T[rows].ravel()
        hidden = np.repeat(np.arange(len(items)), classes)
        last = csr_array((values, (logits, hidden)), shape=(count * classes, len(items)))
        if biases:
            one = eye_array(classes, format="csr")
            repeated = one[np.tile(np.arange(classes), count)]
            first, last = block_diag([first, one], format="csr"), hstack([last, repeated], format="csr")
        return cls(csr_array(first), csr_array(last))

    @classmethod
    def of_last_layer(cls, inputs: Vector, classes: int) -> Effects:
        """Of the layer that gives the logits itself, on inputs [m, d]."""
        on = np.ones((len(inputs), classes), dtype=np.bool_)
        return cls.of_two_layers(inputs, on, np.eye(classes), biases=False)

    @classmethod
    def of_rows(cls, rows: csr_array) -> Effects:
        """The changes rows @ u, rows [o, n]: for any other network, at the price of many entries."""
        return cls(rows, csr_array(eye_array(rows.shape[0], format="csr")))

    def of(self, change: Vector) -> Vector:
        """[o]."""
        effects: Vector = self.last @ (self.first @ change)
        return effects


def penalised_change(
    demands: Demands, effects: Effects | None = None, *, limit: float = 1e3, seconds: float | None = None
) -> Solving:
    """The u that meets the demands with the least |q|_inf + |q|_1 / N, which is the `size` of the change.

    q is u and, where `effects` are given, what it does to them, N numbers in all. Demands that cannot all hold are
    thinned out as in `least_change`.

    Args:
        limit: bound of each |u_j|, above 0.
        seconds: for all programs together.

    Raises NoOptimum: within the limit no demand that 0 does not meet can be met, or the time ran out.
    """

    def solve(demands: Demands, clock: Clock) -> Solving:
        if effects is None:
            return _least_alone(demands, limit, clock)
        return _least_with(demands, effects, limit, clock)

    return met_by_most(solve, demands, limit, Clock(seconds))


def norm_of(change: Vector) -> float:
    """|q|_inf + |q|_1 / N."""
    sizes = np.abs(change)
    return float(sizes.max(initial=0.0) + sizes.sum() / max(1, len(sizes)))


def _least_alone(demands: Demands, limit: float, clock: Clock) -> Solving:
    """Of the change alone. With p - q = u / t, 0 <= p, q <= 1, s = 1 / t it is (1 + sum (p + q) / n) / s: a ratio.

    Dinkelbach: with r the best ratio so far, minimise 1 + sum (p + q) / n - r s; where that is 0, r is the least. The
    start is the largest s. All is one program whose rows grow and whose costs change.
    """
    width = demands.width
    lower, upper = np.zeros(2 * width + 1), np.ones(2 * width + 1)
    lower[-1], upper[-1] = 1 / limit, _LARGEST_SCALE
    program, rows = LinearProgram(lower, upper), demands.first()
    costs, best, last = np.append(np.zeros(2 * width), -1.0), np.inf, np.full(width, np.nan)
    while True:
        matrix = hstack([rows.matrix, -rows.matrix, csr_array(-rows.floors[:, None])], format="csr")
        program.add(matrix, np.zeros(len(rows.floors)))
        point = program.minimum(costs, clock.left).point
        scale = point[-1]
        vector = np.zeros(width)
        if scale < _LARGEST_SCALE:
            vector = (point[:width] - point[width:-1]) / scale
        size = norm_of(vector)
        yield {"program/rows": program.height, "program/size": size}
        rows = demands.violated(vector)
        if len(rows.floors):
            check_progress(vector, last)
            last = vector
            continue
        if size >= (1 - _LEAST_GAIN) * best or size == 0.0:
            return Change(vector, size, _NOBODY, program.height, program.solved)
        best = size
        costs = np.append(np.ones(2 * width), -width * size)


def _least_with(demands: Demands, effects: Effects, limit: float, clock: Clock) -> Solving:
    """Of the change u = p - q and its effects e = f - g: min N t + sum (p + q + f + g), |u|, |e| <= t.

    t is mostly that of an effect: that |u_j| <= t is demanded of those numbers alone that would exceed it.
    """
    program, costs = _with_effects(effects, demands.width, limit)
    width, rows, large = demands.width, demands.first(), _NOBODY
    last = np.full(width, np.nan)
    while True:
        program.add(_padded(hstack([rows.matrix, -rows.matrix], format="csr"), program.width), rows.floors)
        program.add(_at_most_last(large, width, program.width), np.zeros(len(large)))
        optimum = program.minimum(costs, clock.left)
        vector, largest = optimum.point[:width] - optimum.point[width : 2 * width], optimum.point[-1]
        yield {"program/rows": program.height, "program/size": float(optimum.cost / costs[-1])}
        rows, large = demands.violated(vector), np.flatnonzero(np.abs(vector) > largest + TOLERANCE)
        if not len(rows.floors) and not len(large):
            size = norm_of(np.concatenate([vector, effects.of(vector)]))
            return Change(vector, size, _NOBODY, program.height, program.solved)
        check_progress(vector, last)
        last = vector


def _with_effects(effects: Effects, width: int, limit: float) -> tuple[LinearProgram, Vector]:
    """The program without demands and its costs; its variables: p, q [n each], first @ u [h], f, g [o each], t."""
    outputs, hidden = effects.last.shape
    free, one = eye_array(hidden, format="csr"), eye_array(outputs, format="csr")
    count = 2 * width + hidden + 2 * outputs + 1
    lower, upper, costs = np.zeros(count), np.full(count, np.inf), np.ones(count)
    upper[: 2 * width] = limit
    lower[2 * width : 2 * width + hidden] = -np.inf
    costs[2 * width : 2 * width + hidden] = 0.0
    costs[-1] = width + outputs
    program = LinearProgram(lower, upper)
    before = csr_array((outputs, 2 * width))
    inside = hstack([effects.first, -effects.first, -free], format="csr")
    program.add(_padded(inside, count), np.zeros(hidden), np.zeros(hidden))
    last = hstack([before, effects.last, -one, one], format="csr")
    program.add(_padded(last, count), np.zeros(outputs), np.zeros(outputs))
    unused, t = csr_array((outputs, hidden)), csr_array(np.ones((outputs, 1)))
    program.add(hstack([before, unused, -one, -one, t], format="csr"), np.zeros(outputs))
    return program, costs


def _at_most_last(numbers: Items, width: int, count: int) -> csr_array:
    """Rows t - p_j - q_j for the given numbers j of u; t is the last of `count` variables."""
    columns = np.stack([numbers, numbers + width, np.full(len(numbers), count - 1)], axis=1)
    values = np.tile([-1.0, -1.0, 1.0], len(numbers))
    return csr_array((values, columns.ravel(), np.arange(len(numbers) + 1) * 3), shape=(len(numbers), count))


def _padded(rows: csr_array, count: int) -> csr_array:
    """With zeros for the variables that follow."""
    padded: csr_array = csr_array((rows.data, rows.indices, rows.indptr), shape=(rows.shape[0], count))
    return padded
