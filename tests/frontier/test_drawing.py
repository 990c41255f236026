"""The frontier's table: what it says of made-up curves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from study.frontier.curves import Point
from study.frontier.drawing import answer, ranked, table
from study.frontier.repairs import Row


def row(approach: str, *points: tuple[float, float]) -> Row:
    """One seed whose soft votes repair and break as much as the points say; the last one is the repair alone."""
    curve = [Point(index / max(1, len(points) - 1), *point) for index, point in enumerate(points)]
    return Row(subject="it", approach=approach, control=False, curves={"soft_voting": {"0": curve}})


ROWS = (
    row("bold", (0.0, 0.0), (0.3, 0.001), (0.6, 0.005)),
    row("mild", (0.0, 0.0), (0.1, 0.0005), (0.35, 0.001)),
    row("poor", (0.0, 0.0), (0.05, 0.002), (0.1, 0.008)),
)


def cells(rows: Sequence[Row], limit: float) -> dict[str, list[str]]:
    """Of each approach of the table, its cells after the name."""
    first, *rest = (list(map(str, column.cells)) for column in table(rows, limit).columns)
    return dict(zip(first, map(list, zip(*rest, strict=True)), strict=True))


def test_the_rows_stand_in_the_order_of_their_best_point_within_the_limit() -> None:
    assert [row.approach for row in ranked(ROWS, 0.002)] == ["mild", "bold", "poor"]
    assert [row.approach for row in ranked(ROWS, 0.006)] == ["bold", "mild", "poor"]
    assert "mild repairs most: 35.0 %, alone (0.10 % negative flips)" in answer(ROWS, 0.002)
    assert "mild repairs most: 10.0 %, by soft_voting with 50 % of the" in answer(ROWS, 0.0005)


@pytest.mark.parametrize(
    ("approach", "alone", "voting", "rival"),
    [
        ("bold", "60.0 / 0.50", "30.0 / 0.10 (0.50)", "mild 35.0"),
        ("mild", "35.0 / 0.10", "35.0 / 0.10 (1.00)", "bold 30.0"),
        ("poor", "10.0 / 0.80", "5.0 / 0.20 (0.50)", "bold 60.0"),
    ],
)
def test_each_row_names_the_best_other_at_no_more_than_its_own_flips(
    approach: str, alone: str, voting: str, rival: str
) -> None:
    assert cells(ROWS, 0.002)[approach] == ["1", alone, "n/a", voting, rival]


def test_an_approach_by_itself_has_nothing_to_be_compared_with() -> None:
    assert cells(ROWS[:1], 0.002)["bold"][-1] == ""
