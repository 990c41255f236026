"""The trade-off plot: what is repaired (up) against what is broken (right), one mark per approach. Geometry only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from study.report.comparison import Row, Subject
from study.report.figures import Figure
from study.report.formats import value
from study.report.labels import Box, Label, place
from study.report.properties import Property

WIDTH, HEIGHT = 400.0, 340.0
FRAME = Box(44, 14, 388, 298)
LETTER = 6.6
"""Width of a letter of the plot's font, generously, in the plot's units."""
LINE = 13.0
RADIUS = 5.0


@dataclass(frozen=True)
class Tick:
    """A grid line: where it lies and the percentage written beside it."""

    at: float
    text: str


@dataclass(frozen=True)
class Mark:
    """One approach: its place, its spread (left, right, top, bottom; None if not known), label and published twin."""

    row: Row
    x: float
    y: float
    spread: tuple[float, float, float, float] | None
    label: Label | None
    twin: tuple[float, float] | None
    title: str


@dataclass(frozen=True)
class Plot:
    """All that the drawing needs. `losing` is the corner points of the region where accuracy falls, or empty."""

    subject: Subject
    broken: Property
    repaired: Property
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    losing: tuple[tuple[float, float], ...]
    frame: Box = FRAME
    width: float = WIDTH
    height: float = HEIGHT


@dataclass(frozen=True)
class _Axis:
    """A property's rates to places: zero at `start`, the last tick at `end`."""

    item: Property
    step: float
    count: int
    start: float
    end: float

    @property
    def top(self) -> float:
        return self.step * self.count

    def __call__(self, rate: float) -> float:
        return self.start + (self.end - self.start) * min(max(rate / self.top, 0.0), 1.0)

    def ticks(self) -> tuple[Tick, ...]:
        rates = [self.step * index for index in range(self.count + 1)]
        return tuple(Tick(self(rate), f"{100 * rate:.6g}") for rate in rates)

    def figure(self, row: Row) -> Figure:
        return row.figures[self.item.key]

    def published(self, row: Row) -> float | None:
        return row.published.figures.get(self.item.key) if row.published else None


def plot(subject: Subject, properties: Sequence[Property]) -> Plot | None:
    """The plot of a subject, None where no approach has both rates or no property has the role of one."""
    # Of several with one role the first counts.
    roles = {item.role: item for item in reversed(properties)}
    repaired, broken = roles.get("repaired"), roles.get("broken")
    if repaired is None or broken is None:
        return None
    rows = [row for row in subject.rows if {repaired.key, broken.key} <= row.figures.keys()]
    if not rows:
        return None
    across = _axis(broken, rows, FRAME.left, FRAME.right)
    upwards = _axis(repaired, rows, FRAME.bottom, FRAME.top)
    marks = _marks(rows, across, upwards)
    losing = _losing(subject, roles.get("accuracy"), across, upwards)
    return Plot(subject, broken, repaired, across.ticks(), upwards.ticks(), marks, losing)


def _axis(item: Property, rows: Sequence[Row], start: float, end: float) -> _Axis:
    """Four to eight steps of 1, 2 or 5 times a power of ten, with a little air beyond the furthest mark."""
    reaches = [_reach(row, item) for row in rows]
    furthest = min(max(*reaches, 0.001) * 1.04, 1.0)
    power = 10.0 ** math.floor(math.log10(furthest / 4))
    step = next(power * factor for factor in (10, 5, 2, 1) if power * factor <= furthest / 3.5)
    return _Axis(item, step, math.ceil(furthest / step - 1e-9), start, end)


def _reach(row: Row, item: Property) -> float:
    """How far the axis must go for this row."""
    figure = row.figures[item.key]
    twin = row.published.figures.get(item.key, 0.0) if row.published else 0.0
    ends = _ends(figure) or (figure.mean, figure.mean)
    return min(max(ends[1], twin), 1.0)


def _marks(rows: Sequence[Row], across: _Axis, upwards: _Axis) -> tuple[Mark, ...]:
    points = [(across(across.figure(row).mean), upwards(upwards.figure(row).mean)) for row in rows]
    twins = [_twin(row, across, upwards) for row in rows]
    spreads = [_spread(row, across, upwards) for row in rows]
    solid = [Box(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in [*points, *filter(None, twins)]]
    for (x, y), spread in zip(points, spreads, strict=True):
        if spread is not None:
            left, right, top, bottom = spread
            solid += [Box(left, y - 1, right, y + 1), Box(x - 1, top, x + 1, bottom)]
    labels = place(points, [LETTER * len(row.name) + 2 for row in rows], LINE, FRAME, solid)
    return tuple(
        Mark(row, x, y, spread, label, twin, _title(row, across, upwards))
        for row, (x, y), spread, label, twin in zip(rows, points, spreads, labels, twins, strict=True)
    )


def _twin(row: Row, across: _Axis, upwards: _Axis) -> tuple[float, float] | None:
    broken, repaired = across.published(row), upwards.published(row)
    return None if broken is None or repaired is None else (across(broken), upwards(repaired))


def _spread(row: Row, across: _Axis, upwards: _Axis) -> tuple[float, float, float, float] | None:
    broken, repaired = _ends(across.figure(row)), _ends(upwards.figure(row))
    if broken is None and repaired is None:
        return None
    (left, right), (bottom, top) = broken or (across.figure(row).mean,) * 2, repaired or (upwards.figure(row).mean,) * 2
    return across(left), across(right), upwards(top), upwards(bottom)


def _ends(figure: Figure) -> tuple[float, float] | None:
    """The standard deviation over seeds to either side; of one seed, the interval over test inputs if there is one."""
    if figure.spread is None:
        return figure.interval
    return figure.mean - figure.spread, figure.mean + figure.spread


def _title(row: Row, across: _Axis, upwards: _Axis) -> str:
    figures = (f"{axis.item.label} {value(axis.figure(row).mean, axis.item.unit)} %" for axis in (upwards, across))
    return f"{row.name}: {', '.join(figures)}"


def _losing(
    subject: Subject, accuracy: Property | None, across: _Axis, upwards: _Axis
) -> tuple[tuple[float, float], ...]:
    """Where accuracy falls: accuracy_after - accuracy_before = repaired * (1 - accuracy_before) - broken < 0."""
    before = subject.faulty.figures.get(accuracy.key) if accuracy else None
    if before is None or before.mean >= 1:
        return ()
    errors = 1 - before.mean
    corner = (across(across.top), upwards(0))
    if upwards.top * errors >= across.top:
        return ((across(0), upwards(0)), (across(across.top), upwards(across.top / errors)), corner)
    edge = across(upwards.top * errors)
    return ((across(0), upwards(0)), (edge, upwards(upwards.top)), (across(across.top), upwards(upwards.top)), corner)
