import numpy as np

from study.parts.solvers.class_margins import ClassMargins
from study.parts.solvers.demands import KEEPS, TOLERANCE

EPS = 0.1
FEATURES = np.array([[1.0, 0.0, 1.0], [0.5, 2.0, 1.0], [0.0, 3.0, 1.0], [2.0, 1.0, 1.0]])
LOGITS = np.array([[2.0, 1.0, 0.0], [0.0, 0.05, -1.0], [1.0, 0.0, 3.0], [3.0, 1.0, 2.0]])
LABELS = np.array([1, 1, 0, 0])
WANTED = np.array([True, False, False, False])
"""The first is wrong and wanted, the second right by 0.05, the third wrong and not wanted, the last right by 1."""


def demands() -> ClassMargins:
    return ClassMargins.of(FEATURES, LOGITS, LABELS, WANTED, EPS)


def test_a_wanted_item_is_to_win_by_eps_a_right_one_to_keep_that_or_the_less_it_has() -> None:
    expected = np.full((4, 3), -np.inf)
    expected[0, [0, 2]] = [1 + EPS, -1 + EPS]
    expected[1, [0, 2]] = [0.0, -1.05 + EPS]  # right by 0.05, which it keeps, and by more than eps
    expected[3, [1, 2]] = [-2 + EPS, -1 + EPS]
    np.testing.assert_allclose(demands().floors, expected)


def test_rows_are_the_label_block_minus_the_class_block() -> None:
    rows = demands().rows(np.array([0, 3]), np.array([2, 1]))
    change = np.random.default_rng(0).normal(size=(3, 3))
    moved = FEATURES @ change.T
    np.testing.assert_allclose(rows.matrix @ change.ravel(), [moved[0, 1] - moved[0, 2], moved[3, 0] - moved[3, 1]])
    np.testing.assert_allclose(rows.floors, demands().floors[[0, 3], [2, 1]])
    assert rows.owners.tolist() == [0, KEEPS]
    assert rows.matrix.nnz == 4 + 6  # zeros of the features are not stored


def test_the_first_rows_are_the_strongest_wrong_class_of_each_wanted_item() -> None:
    rows = demands().first()
    assert rows.owners.tolist() == [0]
    np.testing.assert_allclose(rows.floors, [1 + EPS])


def test_violated_are_the_worst_row_of_each_item_the_worst_items_first() -> None:
    problem, generator = demands(), np.random.default_rng(3)
    for _ in range(20):
        change = generator.normal(size=(3, 3))
        moved = FEATURES @ change.T
        short = problem.floors - (moved[np.arange(4), LABELS][:, None] - moved)
        by = short.max(1)
        expected = [item for item in np.argsort(-by) if by[item] > TOLERANCE]
        rows = problem.violated(change.ravel())
        np.testing.assert_allclose(rows.floors - rows.matrix @ change.ravel(), by[expected], atol=1e-9)
        excused = problem.violated(change.ravel(), np.maximum(by, 0))
        assert not len(excused.floors)


def test_without_an_item_nothing_is_demanded_of_it() -> None:
    rest = demands().without(np.array([0]))
    assert not len(rest.first().floors)
    assert not len(rest.violated(np.zeros(9)).floors)
    assert rest.items == 4


def test_a_kept_item_may_have_a_margin_of_its_own() -> None:
    own = ClassMargins.of(FEATURES, LOGITS, LABELS, WANTED, EPS, kept=1.5)
    expected = demands().floors.copy()
    expected[1, 2] = -1.05 + 1.05  # it keeps the whole of the 1.05 that it has
    expected[3, [1, 2]] = [-2 + 1.5, 0.0]
    np.testing.assert_allclose(own.floors, expected, atol=1e-12)
