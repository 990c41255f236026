import itertools
import random

import pytest

from study.report.labels import FREE_OF_LEADER, Box, place

AREA = Box(0, 0, 340, 290)


def _marks(points: list[tuple[float, float]]) -> list[Box]:
    return [Box(x - 5, y - 5, x + 5, y + 5) for x, y in points]


@pytest.mark.parametrize("spread", [3.0, 30.0, 300.0])
def test_no_label_lies_on_another_on_a_mark_or_outside(spread: float) -> None:
    draws = random.Random(0)
    points = [(20 + draws.random() * spread, 260 - draws.random() * spread * 0.8) for _ in range(16)]
    labels = place(points, [draws.uniform(30, 110) for _ in points], 13, AREA, _marks(points))
    boxes = [label.box for label in labels if label is not None]
    assert len(boxes) == len(points)
    assert not any(first.meets(second) for first, second in itertools.combinations(boxes, 2))
    assert not any(box.meets(mark) for box in boxes for mark in _marks(points))
    assert all(box.within(AREA) for box in boxes)


def test_a_lone_label_lies_beside_its_mark_without_a_leader() -> None:
    (label,) = place([(100, 100)], [50], 13, AREA, _marks([(100, 100)]))
    assert label is not None and label.leader is None
    assert 0 < label.box.left - 105 < FREE_OF_LEADER


def test_at_the_right_edge_the_label_goes_left() -> None:
    (label,) = place([(330, 100)], [50], 13, AREA, _marks([(330, 100)]))
    assert label is not None and label.box.right < 325


def test_a_label_pushed_away_is_joined_to_its_mark() -> None:
    wall = [Box(70, 60, 130, 140)]
    (label,) = place([(100, 100)], [40], 13, AREA, wall)
    assert label is not None and label.leader is not None


def test_no_room_no_label() -> None:
    assert place([(100, 100)], [400], 13, AREA, []) == [None]
