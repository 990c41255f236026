"""Where to write the names of points on a plot so that no two texts, and no text and mark, lie on each other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

DISTANCES = (11, 18, 27, 38, 52, 66, 80, 95, 110, 125, 140, 160, 180, 200, 225, 250)
ANGLES = tuple(step * math.pi / 12 for step in sorted(range(24), key=lambda step: (min(step % 12, -step % 12), step)))
"""Right and left first, then steeper."""
FREE_OF_LEADER = 14
"""A label nearer than this needs no line to its mark."""


@dataclass(frozen=True)
class Box:
    """An upright rectangle in the plot's units, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        """Whether the two share any area."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def within(self, other: "Box") -> bool:
        """Whether it lies wholly inside."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )


@dataclass(frozen=True)
class Label:
    """A text's box, and the end of a line to its mark where it lies too far off to belong by itself."""

    box: Box
    leader: tuple[float, float] | None


def place(
    points: Sequence[tuple[float, float]], widths: Sequence[float], height: float, area: Box, marks: Sequence[Box]
) -> list[Label | None]:
    """A place for each point's label, None where there is no room left (greedy, nearest place first).

    Args:
        points: Where the marks are.
        widths: Width of each text; `height` is that of all.
        area: Where texts may lie.
        marks: What they must not cover.
    """
    texts: list[Box] = []
    leaders: list[Box] = []
    labels: list[Label | None] = []
    for point, width in zip(points, widths, strict=True):
        free = [
            label
            for label in _candidates(point, width, height)
            if label.box.within(area) and not any(label.box.meets(other) for other in [*texts, *marks])
        ]
        label = min(free, key=partial(_confusion, point, points, texts, leaders), default=None)
        labels.append(label)
        if label is not None:
            texts.append(label.box)
            leaders += _along(point, label.leader)
    return labels


def _candidates(point: tuple[float, float], width: float, height: float) -> list[Label]:
    """Every place to try, nearest first."""
    return [_label(point, distance, angle, width, height) for distance in DISTANCES for angle in ANGLES]


def _confusion(
    point: tuple[float, float],
    points: Sequence[tuple[float, float]],
    texts: Sequence[Box],
    leaders: Sequence[Box],
    label: Label,
) -> int:
    """How many things make a place hard to read: a line that runs under a text, another mark that lies nearer."""
    own_line_crosses = any(part.meets(text) for part in _along(point, label.leader) for text in texts)
    lies_on_a_line = any(label.box.meets(part) for part in leaders)
    own = _gap(label.box, point)
    another_is_nearer = any(_gap(label.box, other) < own for other in points)
    return own_line_crosses + lies_on_a_line + another_is_nearer


def _gap(box: Box, point: tuple[float, float]) -> float:
    """Distance from a point to the nearest point of a box."""
    return math.dist(point, _nearest(box, point))


def _nearest(box: Box, point: tuple[float, float]) -> tuple[float, float]:
    return min(max(point[0], box.left), box.right), min(max(point[1], box.top), box.bottom)


def _label(point: tuple[float, float], distance: float, angle: float, width: float, height: float) -> Label:
    x, y = point[0] + distance * math.cos(angle), point[1] + distance * math.sin(angle)
    # The text grows away from the mark: rightwards on its right side, leftwards on its left, centred above and below.
    left = x - width * (1 - math.cos(angle)) / 2
    box = Box(left, y - height / 2, left + width, y + height / 2)
    end = _nearest(box, point)
    return Label(box, end if math.dist(point, end) > FREE_OF_LEADER else None)


def _along(point: tuple[float, float], end: tuple[float, float] | None) -> list[Box]:
    """Small boxes along a line, its first part left free for the mark itself."""
    if end is None:
        return []
    steps = max(2, int(math.dist(point, end) // 4))
    centres = [
        (point[0] + (end[0] - point[0]) * step / steps, point[1] + (end[1] - point[1]) * step / steps)
        for step in range(1, steps)
    ]
    return [Box(x - 1, y - 1, x + 1, y + 1) for x, y in centres]
