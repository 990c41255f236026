from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from scipy.sparse import csr_array, hstack, vstack

from study.models.frozen_run import FrozenRun
from study.parts.network.dense_data import DenseData
from study.parts.network.frozen_layer import FrozenLayer
from study.parts.selection.given_inputs import GivenInputs
from study.parts.solvers.class_margins import ClassMargins
from study.parts.solvers.demands import KEEPS, Change, ended
from study.parts.solvers.frozen_margins import FrozenMargins
from study.parts.solvers.least_change import least_change
from tests.problems import digits_problem

EPS = 1e-3
HIDDEN, LAST = "net.layers.1", "net.layers.5"


@lru_cache
def demands(layer: str, signs: bool, points: int = 36, protect: int = 30, biases: bool = True) -> FrozenMargins:
    problem = digits_problem()
    given = GivenInputs.of(problem, points, protect)
    run = FrozenRun(problem.copy(), layer)
    later = run.later if biases else ()
    frozen = FrozenLayer.of(run, problem.repair_set, given.indices, later)
    return FrozenMargins.of(frozen, given.split.labels, given.wanted, EPS, signs=signs)


def least(margins: FrozenMargins) -> Change:
    return ended(least_change(margins, "linf", limit=3.0))


def all_rows(margins: FrozenMargins) -> tuple[csr_array, np.ndarray]:
    parts = [margins.margin_rows(*np.nonzero(np.isfinite(margins.margins)))]
    if margins.signs.any():
        parts.append(margins.sign_rows(*np.nonzero(np.isfinite(margins.slacks))))
    return vstack([part.matrix for part in parts]), np.concatenate([part.floors for part in parts])


@pytest.mark.parametrize("signs", [False, True])
def test_rows_added_as_they_are_needed_give_the_optimum_of_all_rows(signs: bool) -> None:
    margins = demands(HIDDEN, signs, points=3, protect=5)
    margins = replace(margins, layer=margins.layer.only(torch.arange(0, 64, 8)))
    matrix, floors = all_rows(margins)
    unit, column = csr_array(np.eye(margins.width)), csr_array(np.ones((margins.width, 1)))
    none = csr_array((len(floors), 1))
    rows = vstack([hstack([-matrix, none]), hstack([unit, -column]), hstack([-unit, -column])])
    limits = np.concatenate([-floors, np.zeros(2 * margins.width)])
    costs = np.append(np.zeros(margins.width), 1.0)
    full = linprog(costs, A_ub=rows.toarray(), b_ub=limits, bounds=(None, None), method="highs")
    change = least(margins)
    assert change.size == pytest.approx(full.fun, abs=1e-8, rel=1e-5)
    assert change.rows < len(floors)
    assert (matrix @ change.vector >= floors - 2e-6).all()


def test_every_row_of_a_choice_and_of_a_passing_input_holds_without_a_change() -> None:
    margins = demands(HIDDEN, True)
    items, classes = np.nonzero(np.isfinite(margins.margins))
    rows = margins.margin_rows(items, classes)
    assert (rows.floors[rows.owners == KEEPS] <= 0).all()
    assert set(rows.owners) == {KEEPS, *range(36)}
    signs = margins.sign_rows(*np.nonzero(np.isfinite(margins.slacks)))
    assert (signs.floors <= 0).all() and (signs.owners == KEEPS).all()
    assert len(margins.first().floors) == 36


def test_at_the_last_layer_they_are_the_demands_of_that_layer_alone() -> None:
    problem = digits_problem()
    last = next(name for name, part in problem.faulty.named_modules() if getattr(part, "out_features", 0) == 10)
    given = GivenInputs.of(problem, None, 30)
    margins = demands(last, True, points=len(problem.failing))
    data = DenseData.of(problem.faulty, last, given.split)
    features = np.column_stack([data.inputs.numpy(), np.ones(len(data.inputs))])
    labels, wanted = given.split.labels.numpy(), given.wanted.numpy()
    alone = ended(least_change(ClassMargins.of(features, data.outputs.numpy(), labels, wanted, EPS), "linf", limit=3.0))
    change = least(margins)
    assert change.size == pytest.approx(alone.size, rel=1e-6)
    np.testing.assert_allclose(change.vector, alone.vector, atol=1e-5)


def test_more_demands_need_a_larger_change() -> None:
    sizes = [least(demands(HIDDEN, False, points=points, protect=0)).size for points in (1, 5, 20)]
    assert 0 < sizes[0] < sizes[1] < sizes[2]
    free, frozen, bare = (
        least(demands(HIDDEN, signs, protect=0, biases=biases)).size
        for signs, biases in ((False, True), (True, True), (True, False))
    )
    assert free < frozen <= bare


def test_the_choices_of_an_item_that_is_left_out_are_free() -> None:
    margins = demands(HIDDEN, True, points=5, protect=0)
    rest = margins.without(np.array([0, 2]))
    assert set(rest.first().owners) == {1, 3, 4}
    change = least(rest).vector
    switched = (margins.layer.at(change)[1] < -1e-5).sum(1)
    assert not switched[[1, 3, 4]].any()
    violated = margins.violated(change)
    assert len(violated.floors) > 0
    assert not len(rest.violated(change).floors)


def test_the_margin_is_taken_at_the_frozen_choices() -> None:
    margins = demands(HIDDEN, True)
    problem, given = digits_problem(), GivenInputs.of(digits_problem(), 36, 30)
    with torch.no_grad():
        logits = problem.copy().double()(given.split.tensors().inputs.double()).numpy()
    np.testing.assert_allclose(margins.logits, logits, atol=1e-5)
    assert margins.slacks.min() > -1e-6


def test_a_kept_item_may_have_a_margin_of_its_own() -> None:
    usual = demands(HIDDEN, False)
    labels = torch.from_numpy(usual.labels)
    own = FrozenMargins.of(usual.layer, labels, torch.from_numpy(usual.wanted), EPS, 2.0, signs=False)
    gaps = own.logits[np.arange(own.items), own.labels][:, None] - own.logits
    finite = np.isfinite(own.margins)
    assert np.array_equal(finite, np.isfinite(usual.margins))
    kept = finite & ~own.wanted[:, None]
    assert (own.margins[finite & own.wanted[:, None]] == EPS).all()
    np.testing.assert_allclose(own.margins[kept], np.minimum(gaps, 2.0)[kept])
    assert (own.margins[kept] > usual.margins[kept]).any()
