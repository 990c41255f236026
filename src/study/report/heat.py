"""Cell colours: teal is good, orange is worse than the faulty model, white is neutral. Light enough for dark text."""

import math
from collections.abc import Mapping, Sequence

from study.report.comparison import Row
from study.report.properties import Property

WHITE = (255, 255, 255)
GOOD = (137, 207, 190)
WORSE = (245, 185, 140)


def shades(rows: Sequence[Row], item: Property) -> Mapping[str, str]:
    """Colour (`#rrggbb`) of one column's cells by the row's name; rows without the figure have none.

    A property that the faulty model has too is coloured by the change, around zero; any other by its place between the
    column's worst and best (times, memory and counts by their logarithm).
    """
    if item.higher_is_better is None:
        return {}
    sign = 1 if item.higher_is_better else -1
    figures = {row.name: row.figures[item.key] for row in rows if item.key in row.figures}
    changes = {name: sign * figure.change.mean for name, figure in figures.items() if figure.change is not None}
    if changes:
        largest = max(map(abs, changes.values()))
        return {name: _diverging(change / largest if largest else 0.0) for name, change in changes.items()}
    means = {name: _height(figure.mean, item) for name, figure in figures.items()}
    if not means or max(means.values()) == min(means.values()):
        return {}
    low, high = min(means.values()), max(means.values())
    return {name: _mix(WHITE, GOOD, (height - low) / (high - low)) for name, height in means.items()}


def _height(mean: float, item: Property) -> float:
    size = mean if item.unit == "rate" else math.log(max(mean, 1e-3))
    return size if item.higher_is_better else -size


def _diverging(score: float) -> str:
    """Colour of a score in [-1, 1]; the root keeps small changes visible beside one large one."""
    return _mix(WHITE, GOOD if score > 0 else WORSE, math.sqrt(abs(score)))


def _mix(start: tuple[int, int, int], end: tuple[int, int, int], share: float) -> str:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(start, end, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"
