from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, linprog, minimize
from scipy.sparse import csr_array

from study.parts.solvers.class_margins import ClassMargins
from study.parts.solvers.demands import KEEPS, Change, Demands, Norm, Rows
from study.parts.solvers.least_change import least_change
from study.parts.solvers.linear_program import NoOptimum, Vector

EPS = 1e-3
NORMS: list[Norm] = ["linf", "l1", "l2"]


def margins(items: int = 60, targets: int = 12, features: int = 30, classes: int = 4, seed: int = 0) -> ClassMargins:
    """Inputs of a random layer, the first `targets` of them with the class that comes second as their label."""
    generator = np.random.default_rng(seed)
    inputs = np.column_stack([np.maximum(generator.normal(size=(items, features)), 0), np.ones(items)])
    logits = inputs @ generator.normal(size=(classes, features + 1)).T
    wanted = np.arange(items) < targets
    labels = np.where(wanted, logits.argsort(1)[:, -2], logits.argmax(1))
    return ClassMargins.of(inputs, logits, labels, wanted, EPS)


def solved(demands: Demands, norm: Norm, **options: float) -> Change:
    search = least_change(demands, norm, **options)
    while True:
        try:
            next(search)
        except StopIteration as end:
            change: Change = end.value
            return change


def whole(demands: ClassMargins) -> tuple[Vector, Vector]:
    """All rows at once, as a dense matrix, and their floors."""
    items, classes = np.nonzero(np.isfinite(demands.floors))
    rows = demands.rows(items, classes)
    return rows.matrix.toarray(), rows.floors


def full_program(demands: ClassMargins, norm: Norm) -> float:
    """The least norm by the textbook's program with all rows, solved by scipy."""
    matrix, floors = whole(demands)
    count = demands.width
    if norm == "l2":
        held = LinearConstraint(matrix, lb=floors, ub=np.inf)
        found = minimize(
            lambda u: u @ u,
            np.zeros(count),
            jac=lambda u: 2 * u,
            constraints=held,
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 1000},
        )
        assert found.success
        return float(np.sqrt(found.fun))
    if norm == "l1":
        result = linprog(np.ones(2 * count), A_ub=-np.hstack([matrix, -matrix]), b_ub=-floors)
        assert result.fun is not None
        return float(result.fun)
    unit, column = np.eye(count), np.ones((count, 1))
    rows = np.vstack(
        [np.hstack([-matrix, np.zeros((len(floors), 1))]), np.hstack([unit, -column]), np.hstack([-unit, -column])]
    )
    costs = np.append(np.zeros(count), 1.0)
    limits = np.concatenate([-floors, np.zeros(2 * count)])
    result = linprog(costs, A_ub=rows, b_ub=limits, bounds=(None, None))
    assert result.fun is not None
    return float(result.fun)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_rows_added_as_they_are_needed_give_the_optimum_of_all_rows(norm: Norm, at_once: int) -> None:
    demands = replace(margins(), at_once=at_once)
    change = solved(demands, norm)
    assert change.size == pytest.approx(full_program(demands, norm), rel=1e-3 if norm == "l1" else 1e-8)
    matrix, floors = whole(demands)
    assert (matrix @ change.vector >= floors - 2e-6).all()
    assert change.rows < len(floors) / 2
    order = {"linf": np.inf, "l1": 1, "l2": 2}[norm]
    assert change.size == pytest.approx(np.linalg.norm(change.vector, order), rel=1e-6)
    assert not len(change.left_out)


@pytest.mark.parametrize("seed", range(5))
def test_one_input_has_the_closed_form(seed: int) -> None:
    demands = margins(items=1, targets=1, seed=seed)
    largest = demands.floors.max()
    weight = np.abs(demands.features).sum()
    assert solved(demands, "linf").size == pytest.approx(largest / (2 * weight), rel=1e-9)


def test_of_many_vectors_of_least_maximum_the_one_with_the_least_sum_is_taken() -> None:
    demands = margins()
    change = solved(demands, "linf")
    matrix, floors = whole(demands)
    bound = change.size * (1 + 1e-9)
    least = linprog(np.ones(2 * demands.width), A_ub=-np.hstack([matrix, -matrix]), b_ub=-floors, bounds=(0.0, bound))
    assert np.abs(change.vector).sum() == pytest.approx(least.fun, rel=1e-3)


@pytest.mark.parametrize("norm", NORMS)
def test_neither_the_order_of_the_items_nor_a_duplicate_matters(norm: Norm) -> None:
    demands = margins()
    order = np.random.default_rng(1).permutation(np.append(np.arange(demands.items), [0, 3]))
    parts = {name: getattr(demands, name)[order] for name in ("features", "labels", "floors", "wanted")}
    np.testing.assert_allclose(solved(replace(demands, **parts), norm).vector, solved(demands, norm).vector, atol=1e-8)


@pytest.mark.parametrize("norm", NORMS)
def test_more_demands_never_make_the_change_smaller(norm: Norm) -> None:
    sizes = []
    for targets in (1, 4, 8, 12):
        demands = margins()
        sizes.append(solved(demands.without(np.arange(targets, 12)), norm).size)
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize("norm", NORMS)
def test_where_all_demands_hold_nothing_changes(norm: Norm) -> None:
    change = solved(margins(targets=0), norm)
    assert not change.vector.any()
    assert change.size == 0


@pytest.mark.parametrize("norm", NORMS)
def test_of_contradicting_items_one_is_left_out_and_the_rest_hold(norm: Norm) -> None:
    demands = margins()
    features, labels = demands.features.copy(), demands.labels.copy()
    features[1], floors = features[0], demands.floors.copy()
    labels[1] = next(k for k in range(4) if k != labels[0])  # the same input, of another class
    floors[1], floors[1, labels[1]] = EPS, -np.inf
    change = solved(replace(demands, features=features, labels=labels, floors=floors), norm)
    assert change.left_out.tolist() in ([0], [1])
    rest = replace(demands, features=features, labels=labels, floors=floors).without(change.left_out)
    matrix, least = whole(rest)
    assert (matrix @ change.vector >= least - 2e-6).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("others", [1, 2, 3])
def test_of_identical_items_with_contradicting_labels_the_fewer_are_left_out(norm: Norm, others: int) -> None:
    demands = margins()
    copies = np.zeros(4, dtype=np.int64)  # four more of the first item, of which `others` are of another class
    features = np.concatenate([demands.features, demands.features[copies]])
    labels = np.concatenate([demands.labels, demands.labels[copies]])
    logits = demands.floors[copies[:1]]
    floors = np.concatenate([demands.floors, demands.floors[copies]])
    another = int(np.flatnonzero(np.arange(4) != labels[0])[0])
    labels[-others:] = another
    floors[-others:] = np.where(np.arange(4) == another, -np.inf, np.where(np.isfinite(logits), logits, 0.0) + EPS)
    wanted = np.append(demands.wanted, np.ones(4, dtype=bool))
    change = solved(replace(demands, features=features, labels=labels, floors=floors, wanted=wanted), norm)
    minority = np.arange(len(labels) - others, len(labels)) if others < 3 else np.array([0, 60])
    assert change.left_out.tolist() == minority.tolist()


class Impossible:
    """Demands u >= 2 of one number; its item is the only one."""

    width = items = 1

    def first(self) -> Rows:
        return Rows(csr_array(np.ones((1, 1))), np.full(1, 2.0), np.full(1, KEEPS))

    def violated(self, change: NDArray[np.float64], missed: NDArray[np.float64] | None = None) -> Rows:
        rows = self.first()
        return Rows(rows.matrix[:0], rows.floors[:0], rows.owners[:0])

    def without(self, items: NDArray[np.int64]) -> "Impossible":
        return self


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_the_limit_of_the_change_and_the_time_are_kept_to(norm: Norm) -> None:
    demands = margins()
    size = solved(demands, norm).size
    assert solved(demands, norm, limit=size * 1.01).size == pytest.approx(size)
    assert len(solved(demands, norm, limit=solved(demands, "linf").size * 0.5).left_out)
    with pytest.raises(NoOptimum, match="infeasible"):
        solved(Impossible(), norm, limit=1.0)
    with pytest.raises(NoOptimum, match="out of time"):
        solved(demands, norm, seconds=0.0)
