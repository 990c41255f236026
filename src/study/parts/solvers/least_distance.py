"""The point nearest to 0 that satisfies linear inequalities.

Sources: block principal pivoting, J. J. Judice & F. M. Pires, "A block principal pivoting algorithm for large-scale
strictly monotone linear complementarity problems", 1994; the least-distance program by non-negative least squares,
C. L. Lawson & R. J. Hanson, "Solving Least Squares Problems", 1974, chapter 23.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import nnls
from scipy.sparse import csr_array

from study.parts.solvers.linear_program import NoOptimum, Vector

_LEAST_REST = 1e-9
"""The rest is 1 / (1 + |u|^2): a smaller one is rounding around 0, which means that no u will do."""
_ACCURACY = 1e-9
"""Of what pivoting finds, relative to the point's length and its square; else least squares are solved."""
_TRIES, _PIVOTS = 3, 100


class LeastDistance:
    """Finds the u [n] of least Euclidean norm with matrix @ u >= floors, for rows that become more and more.

    u = matrix' w with w >= 0, positive for rows that bind. Which rows do is found by blocks of exchanges, starting from
    those of the last solution and the rows that it misses most, each a linear system; where that is not accurate, by
    least squares.
    """

    def __init__(self, width: int) -> None:
        self._rows, self._floors, self._lengths = np.empty((0, width)), np.empty(0), np.empty(0)
        self._products, self._binding = np.empty((0, 0)), np.empty(0, dtype=bool)

    def add(self, matrix: csr_array, floors: Vector) -> None:
        """Add the rows matrix [R, n] and their floors [R]."""
        rows = matrix.toarray()
        lengths = np.maximum(np.linalg.norm(rows, axis=1), np.finfo(float).tiny)
        rows, old = rows / lengths[:, None], self._rows
        beside = old @ rows.T
        self._products = np.block([[self._products, beside], [beside.T, rows @ rows.T]])
        self._rows = np.concatenate([old, rows])
        self._floors = np.concatenate([self._floors, floors / lengths])
        self._binding = np.concatenate([self._binding, np.zeros(len(floors), dtype=bool)])

    def nearest(self) -> Vector:
        """The point; raises NoOptimum where no point satisfies all rows."""
        at_once = max(10, self._rows.shape[1] // 10)
        while True:
            chosen = np.flatnonzero(self._binding)
            weights = self._pivoted(chosen)
            if weights is None:
                return least_distance(self._rows, self._floors)
            chosen, weights = chosen[weights > 0], weights[weights > 0]
            missed = self._floors - self._products[:, chosen] @ weights
            missed[chosen] = 0.0
            self._binding[:] = False
            self._binding[chosen] = True
            worst = np.argsort(-missed, kind="stable")[:at_once]
            worst = worst[missed[worst] > _ACCURACY]
            if not len(worst):
                break
            self._binding[worst] = True
        point: Vector = weights @ self._rows[chosen]
        square = float(point @ point)
        missing = float((self._floors - self._rows @ point).max(initial=0.0))
        apart = abs(square - float(weights @ self._floors[chosen]))
        if missing > 10 * _ACCURACY * max(1.0, square**0.5) or apart > _ACCURACY * max(1.0, square):
            return least_distance(self._rows, self._floors)
        return point

    def _pivoted(self, rows: NDArray[np.int64]) -> Vector | None:
        """For some rows the w >= 0 with products @ w >= floors, one an equation in each row; None where none is found.

        Rows on the wrong side change sides, all at once; after three rounds without fewer of them only the last one.
        """
        products, floors = self._products[np.ix_(rows, rows)], self._floors[rows]
        binding, fewest, tries = np.ones(len(rows), dtype=bool), len(rows) + 1, _TRIES
        for _ in range(_PIVOTS):
            weights, chosen = np.zeros(len(rows)), np.flatnonzero(binding)
            if len(chosen) > self._rows.shape[1]:
                return None
            try:
                weights[chosen] = _solved(products[np.ix_(chosen, chosen)], floors[chosen])
            except LinAlgError:
                return None
            missed = floors - products @ weights
            wrong = np.flatnonzero(np.where(binding, weights < 0, missed > _ACCURACY / 10))
            if not len(wrong):
                return weights
            if len(wrong) < fewest:
                fewest, tries = len(wrong), _TRIES
            elif tries:
                tries -= 1
            else:
                wrong = wrong[-1:]
            binding[wrong] = ~binding[wrong]
        return None


def _solved(matrix: Vector, right: Vector) -> Vector:
    """The solution x of matrix @ x = right, positive definite, refined once."""
    if not len(right):
        return np.zeros(0)
    factor = cho_factor(matrix, check_finite=False)
    solution: Vector = cho_solve(factor, right, check_finite=False)
    return solution + cho_solve(factor, right - matrix @ solution, check_finite=False)


def least_distance(rows: Vector, floors: Vector) -> Vector:
    """The u [n] of least Euclidean norm with rows @ u >= floors ([R, n], [R]); raises NoOptimum where there is none.

    Non-negative least squares min |E w - e|, E = [rows'; floors'], e the last unit vector; with its rest d = E w - e,
    u = -d / (last of d). With more unknowns than rows, a QR decomposition of [E, e] leaves a problem of as many
    equations as rows.
    """
    lengths = np.maximum(np.linalg.norm(rows, axis=1), np.finfo(float).tiny)
    equations = np.vstack([rows.T, floors]) / lengths
    last = np.zeros(len(equations))
    last[-1] = 1.0
    reduced, wanted = equations, last
    if len(equations) > len(lengths) + 1:
        _, triangle = np.linalg.qr(np.column_stack([equations, last]))
        reduced, wanted = triangle[:, :-1], triangle[:, -1]
    try:
        weights, _ = nnls(reduced, wanted)
    except RuntimeError as error:  # its limit of iterations
        raise NoOptimum("numerical trouble") from error
    rest = equations @ weights - last
    if -rest[-1] < _LEAST_REST:
        raise NoOptimum("infeasible")
    vector: Vector = -rest[:-1] / rest[-1]
    return vector
