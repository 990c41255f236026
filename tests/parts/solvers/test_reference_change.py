from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import csr_array

from study.parts.solvers import reference_change
from study.parts.solvers.class_margins import ClassMargins
from study.parts.solvers.demands import KEEPS, TOLERANCE, Change, Items, Rows, ended
from study.parts.solvers.linear_program import LinearProgram, NoOptimum, Vector
from study.parts.solvers.reference_change import Effects, norm_of, penalised_change

EPS, ITEMS, FEATURES, UNITS, CLASSES = 1e-3, 6, 5, 4, 3


@dataclass(frozen=True)
class Net:
    """Two dense layers with a ReLU between on some inputs, and the card's textbook program of them.

    inputs: [m, d] with a column of ones; first: [p, d]; last: [C, p]; labels: [m]; no logit has an offset.
    """

    inputs: Vector
    first: Vector
    last: Vector
    labels: Items

    @classmethod
    def drawn(cls, seed: int = 0) -> "Net":
        generator = np.random.default_rng(seed)
        inputs = np.column_stack([np.maximum(generator.normal(size=(ITEMS, FEATURES - 1)), 0), np.ones(ITEMS)])
        first, last = generator.normal(size=(UNITS, FEATURES)), generator.normal(size=(CLASSES, UNITS))
        net = cls(inputs, first, last, np.zeros(ITEMS, dtype=np.int64))
        return replace(net, labels=net.logits(first, 0.0).argsort(1)[:, -2])

    @property
    def units(self) -> Vector:
        return self.inputs @ self.first.T

    @property
    def effects(self) -> Effects:
        return Effects.of_two_layers(self.inputs, self.units >= 0, self.last, biases=True)

    def logits(self, first: Vector, biases: Vector | float) -> Vector:
        values: Vector = np.maximum(self.inputs @ first.T, 0) @ self.last.T + biases
        return values

    def changed(self, vector: Vector) -> tuple[Vector, Vector]:
        """Units and logits with a change of the rows and the later biases."""
        rows, biases = vector[: UNITS * FEATURES].reshape(UNITS, -1), vector[UNITS * FEATURES :]
        return self.inputs @ (self.first + rows).T, self.logits(self.first + rows, biases)

    def rows(self, *, signs: bool) -> tuple[Vector, Vector, Vector, Items]:
        """By loops: how logits move [m * C, n]; the demands' rows [R, n], floors and owners [R]."""
        on, n, logits = self.units >= 0, UNITS * FEATURES + CLASSES, self.logits(self.first, 0.0)
        moved, rows, floors, owners = np.zeros((ITEMS, CLASSES, n)), [], [], []
        for i, label in enumerate(self.labels):
            for c in range(CLASSES):
                own = (self.last[c] * on[i])[:, None] * self.inputs[i]
                moved[i, c] = np.append(own.ravel(), np.eye(CLASSES)[c])
            for c in {*range(CLASSES)} - {label}:
                rows.append(moved[i, label] - moved[i, c])
                floors.append(logits[i, c] - logits[i, label] + EPS)
                owners.append(i)
            for j in range(UNITS) if signs else ():
                sign = np.zeros((UNITS, FEATURES))
                sign[j] = self.inputs[i] if on[i, j] else -self.inputs[i]
                rows.append(np.append(sign.ravel(), np.zeros(CLASSES)))
                floors.append(-abs(self.units[i, j]))
                owners.append(KEEPS)
        return moved.reshape(-1, n), np.array(rows), np.array(floors), np.array(owners)

    def textbook(self, *, effects: float, signs: bool, limit: float) -> float:
        """Optimum of the program with all rows: u, A >= |q|, t >= A, where q is u and `effects` times its effects."""
        moved, rows, floors, _ = self.rows(signs=signs)
        n = moved.shape[1]
        q = np.vstack([np.eye(n), effects * moved]) if effects else np.eye(n)
        count, zeros = len(q), np.zeros
        limits = [
            np.hstack([-rows, zeros((len(rows), count + 1))]),
            np.hstack([q, -np.eye(count), zeros((count, 1))]),
            np.hstack([-q, -np.eye(count), zeros((count, 1))]),
            np.hstack([zeros((count, n)), np.eye(count), -np.ones((count, 1))]),
        ]
        right = np.concatenate([-floors, zeros(3 * count)])
        costs = np.concatenate([zeros(n), np.full(count, 1 / count), [1.0]])
        bounds = [(-limit, limit)] * n + [(None, None)] * (count + 1)
        result = linprog(costs, A_ub=np.vstack(limits), b_ub=right, bounds=bounds)
        assert result.fun is not None
        return float(result.fun)


@dataclass(frozen=True)
class Wishes:
    """The demands of a `Net`: its spec rows and, with `signs`, its sign rows, `at_once` of them in a round."""

    net: Net
    signs: bool
    items: int = ITEMS
    at_once: int = 1
    left: frozenset[int] = frozenset()

    @property
    def width(self) -> int:
        return UNITS * FEATURES + CLASSES

    def first(self) -> Rows:
        return self.violated(np.zeros(self.width))

    def violated(self, change: Vector, missed: Vector | None = None) -> Rows:
        matrix, floors, owners = self.all()
        allowed = np.zeros(len(floors))
        if missed is not None:
            allowed = np.where(owners == KEEPS, 0.0, missed[owners])
        short = floors - matrix @ change - allowed
        worst = np.argsort(-short)[: self.at_once]
        worst = worst[short[worst] > TOLERANCE]
        return Rows(csr_array(matrix[worst]), floors[worst], owners[worst])

    def without(self, items: Items) -> "Wishes":
        return replace(self, left=frozenset(items.tolist()))

    def all(self) -> tuple[Vector, Vector, Items]:
        _, rows, floors, owners = self.net.rows(signs=self.signs)
        asked = ~np.isin(owners, list(self.left))
        return rows[asked], floors[asked], owners[asked]


FEASIBLE, INFEASIBLE = (0, 1, 4, 5), (2, 3)
"""Seeds whose demands can, with the sign rows, all hold within 3, and seeds whose cannot."""
both = pytest.mark.parametrize("effects", [True, False])


def solved(net: Net, *, effects: bool, signs: bool = True, limit: float = 3.0, at_once: int = 1) -> Change:
    wishes = Wishes(net, signs, at_once=at_once)
    return ended(penalised_change(wishes, net.effects if effects else None, limit=limit))


@both
@pytest.mark.parametrize("signs", [True, False])
@pytest.mark.parametrize("seed", FEASIBLE)
def test_it_is_the_optimum_of_the_textbook_program(effects: bool, signs: bool, seed: int) -> None:
    net = Net.drawn(seed)
    change = solved(net, effects=effects, signs=signs)
    expected = net.textbook(effects=effects, signs=signs, limit=3.0)
    assert change.size == pytest.approx(expected, abs=1e-7)
    normed = [change.vector, net.effects.of(change.vector)] if effects else [change.vector]
    assert change.size == norm_of(np.concatenate(normed))
    assert not len(change.left_out)


@pytest.mark.parametrize("seed", range(3))
def test_the_largest_number_may_be_of_the_change_itself(seed: int) -> None:
    net, share = Net.drawn(seed), 0.05
    effects = Effects(net.effects.first, share * net.effects.last)
    change = ended(penalised_change(Wishes(net, signs=False), effects, limit=3.0))
    assert np.abs(change.vector).max() > np.abs(effects.of(change.vector)).max()
    assert change.size == pytest.approx(net.textbook(effects=share, signs=False, limit=3.0), abs=1e-7)


@both
def test_the_limit_binds(effects: bool) -> None:
    free, limit = solved(Net.drawn(), effects=effects), 0.6 if effects else 0.7
    change = solved(Net.drawn(), effects=effects, limit=limit)
    assert np.abs(change.vector).max() <= limit + 1e-9 < np.abs(free.vector).max()
    if not len(change.left_out):
        expected = Net.drawn().textbook(effects=effects, signs=True, limit=limit)
        assert change.size == pytest.approx(expected, abs=1e-7)


@both
def test_how_many_rows_come_at_once_does_not_matter(effects: bool) -> None:
    net = Net.drawn(4)
    one, all_at_once = (solved(net, effects=effects, at_once=count) for count in (1, 1000))
    assert one.size == pytest.approx(all_at_once.size, abs=1e-9)
    assert one.programs > all_at_once.programs


@both
def test_simplex_and_interior_point_agree(effects: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net.drawn(4)
    simplex = solved(net, effects=effects)
    monkeypatch.setattr(
        reference_change, "LinearProgram", lambda lower, upper: LinearProgram(lower, upper, solver="ipm")
    )
    interior = solved(net, effects=effects)
    assert interior.size == pytest.approx(simplex.size, abs=1e-6)
    np.testing.assert_allclose(net.changed(interior.vector)[1], net.changed(simplex.vector)[1], atol=1e-4)


@both
@pytest.mark.parametrize("seed", FEASIBLE)
def test_in_the_network_itself_every_input_is_right_by_the_margin_and_no_unit_switches(
    effects: bool, seed: int
) -> None:
    net = Net.drawn(seed)
    change = solved(net, effects=effects)
    units, logits = net.changed(change.vector)
    on = net.units >= 0
    assert (units[on] >= -2e-6).all()
    assert (units[~on] <= 2e-6).all()
    rivals = logits.copy()
    rivals[np.arange(ITEMS), net.labels] = -np.inf
    assert (logits[np.arange(ITEMS), net.labels] - rivals.max(1) >= EPS - 1e-5).all()


def test_without_sign_rows_units_switch() -> None:
    net = Net.drawn(1)
    units, _ = net.changed(solved(net, effects=True, signs=False).vector)
    assert ((units >= 0) != (net.units >= 0)).any()


@both
@pytest.mark.parametrize("seed", INFEASIBLE)
def test_demands_that_cannot_all_hold_are_thinned_out(effects: bool, seed: int) -> None:
    net = Net.drawn(seed)
    change = solved(net, effects=effects)
    assert 0 < len(change.left_out) < ITEMS / 2
    rest = Wishes(net, signs=True).without(change.left_out)
    matrix, floors, _ = rest.all()
    assert (matrix @ change.vector >= floors - 2e-6).all()


def test_effects_are_those_of_the_network() -> None:
    net = Net.drawn()
    change = np.random.default_rng(1).normal(size=UNITS * FEATURES + CLASSES) * 1e-4
    on = (net.units >= 0).astype(float)
    rows, biases = change[:-CLASSES].reshape(UNITS, -1), change[-CLASSES:]
    expected = (on * (net.inputs @ rows.T)) @ net.last.T + biases
    np.testing.assert_allclose(net.effects.of(change), expected.ravel(), atol=1e-12)
    short = Effects.of_two_layers(net.inputs, net.units >= 0, net.last, biases=False)
    np.testing.assert_allclose(short.of(change[:-CLASSES]), (expected - biases).ravel(), atol=1e-12)


@both
def test_the_last_layer_alone_is_the_same_program(effects: bool) -> None:
    """A first layer of one unit for each class, always on, and the identity after it."""
    net = replace(Net.drawn(), first=np.ones((CLASSES, FEATURES)), last=np.eye(CLASSES))
    logits = net.logits(net.first, 0.0)
    demands = ClassMargins.of(net.inputs, logits, net.labels, np.ones(ITEMS, dtype=bool), EPS)
    change = ended(penalised_change(demands, Effects.of_last_layer(net.inputs, CLASSES) if effects else None))
    moved = net.inputs @ change.vector.reshape(CLASSES, -1).T
    assert change.size == pytest.approx(
        norm_of(np.append(change.vector, moved)) if effects else norm_of(change.vector), abs=1e-12
    )
    rivals = logits + moved
    own = rivals[np.arange(ITEMS), net.labels].copy()
    rivals[np.arange(ITEMS), net.labels] = -np.inf
    assert (own - rivals.max(1) >= EPS - 2e-6).all()


def test_how_effects_are_written_does_not_matter() -> None:
    net = Net.drawn(1)
    direct = Effects.of_rows(csr_array(net.effects.last @ net.effects.first))
    change = ended(penalised_change(Wishes(net, signs=True), direct, limit=3.0))
    assert change.size == pytest.approx(solved(net, effects=True).size, abs=1e-9)


@both
def test_where_nothing_is_demanded_nothing_changes_and_the_time_is_kept_to(effects: bool) -> None:
    net = Net.drawn()
    nothing = Wishes(net, signs=True).without(np.arange(ITEMS))
    used = net.effects if effects else None
    change = ended(penalised_change(nothing, used))
    assert not change.vector.any()
    assert change.size == 0
    with pytest.raises(NoOptimum, match="out of time"):
        ended(penalised_change(Wishes(net, signs=True), used, seconds=0.0))


def test_the_least_ratio_takes_several_steps() -> None:
    """Of the last layer on more inputs, against one program with all rows: A >= |u|, t >= A."""
    generator = np.random.default_rng(0)
    inputs = np.column_stack([np.maximum(generator.normal(size=(40, 20)), 0), np.ones(40)])
    logits = inputs @ generator.normal(size=(4, 21)).T
    wanted = np.arange(40) < 10
    labels = np.where(wanted, logits.argsort(1)[:, -2], logits.argmax(1))
    demands = ClassMargins.of(inputs, logits, labels, wanted, EPS)
    change = ended(penalised_change(demands))
    rows = demands.rows(*np.nonzero(np.isfinite(demands.floors)))
    n, matrix = demands.width, rows.matrix.toarray()
    unused = np.zeros((len(matrix), 1))
    limits = np.vstack(
        [np.hstack([-matrix, matrix, unused]), np.hstack([np.eye(n), np.eye(n), -np.ones((n, 1))])]  # p + q <= t
    )
    result = linprog(np.append(np.full(2 * n, 1 / n), 1.0), A_ub=limits, b_ub=np.append(-rows.floors, np.zeros(n)))
    assert change.size == pytest.approx(result.fun, rel=1e-6)


class NeverMet(Wishes):
    """Says of a row that holds that it does not."""

    def violated(self, change: Vector, missed: Vector | None = None) -> Rows:
        return Rows(csr_array(np.ones((1, self.width))), np.full(1, 0.1), np.zeros(1, dtype=np.int64))


@both
def test_a_row_that_the_solver_cannot_meet_ends_the_search(effects: bool) -> None:
    net = Net.drawn()
    with pytest.raises(NoOptimum, match="numerical trouble"):
        ended(penalised_change(NeverMet(net, signs=True), net.effects if effects else None))
