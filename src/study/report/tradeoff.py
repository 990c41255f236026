"""The trade-off plot: repair rate (up) against negative flip rate (right), one mark per approach. Geometry only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from study.report.comparison import Row, Subject
from study.report.formats import value
from study.report.labels import Box, Label, place

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
    """One approach: its place, its spread (left, right, top, bottom; None for one seed), label and published twin."""

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
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    losing: tuple[tuple[float, float], ...]
    frame: Box = FRAME
    width: float = WIDTH
    height: float = HEIGHT


@dataclass(frozen=True)
class _Scale:
    """Rates to places: zero at `start`, the last tick at `end`."""

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


def plot(subject: Subject) -> Plot | None:
    """The plot of a subject, None where no approach has both rates."""
    rows = [row for row in subject.rows if {"repair_rate", "negative_flip_rate"} <= row.figures.keys()]
    if not rows:
        return None
    across = _scale([_reach(row, "negative_flip_rate") for row in rows], FRAME.left, FRAME.right)
    upwards = _scale([_reach(row, "repair_rate") for row in rows], FRAME.bottom, FRAME.top)
    return Plot(
        subject, across.ticks(), upwards.ticks(), _marks(rows, across, upwards), _losing(subject, across, upwards)
    )


def _reach(row: Row, key: str) -> float:
    """How far the axis must go for this row."""
    figure = row.figures[key]
    twin = row.published.figures.get(key, 0.0) if row.published else 0.0
    return min(max(figure.mean + (figure.spread or 0.0), twin), 1.0)


def _scale(reaches: Sequence[float], start: float, end: float) -> _Scale:
    """Four to eight steps of 1, 2 or 5 times a power of ten, with a little air beyond the furthest mark."""
    furthest = min(max(*reaches, 0.001) * 1.04, 1.0)
    power = 10.0 ** math.floor(math.log10(furthest / 4))
    step = next(power * factor for factor in (10, 5, 2, 1) if power * factor <= furthest / 3.5)
    return _Scale(step, math.ceil(furthest / step - 1e-9), start, end)


def _marks(rows: Sequence[Row], across: _Scale, upwards: _Scale) -> tuple[Mark, ...]:
    points = [(across(_mean(row, "negative_flip_rate")), upwards(_mean(row, "repair_rate"))) for row in rows]
    twins = [_twin(row, across, upwards) for row in rows]
    spreads = [_spread(row, across, upwards) for row in rows]
    solid = [Box(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in [*points, *filter(None, twins)]]
    for (x, y), spread in zip(points, spreads, strict=True):
        if spread is not None:
            left, right, top, bottom = spread
            solid += [Box(left, y - 1, right, y + 1), Box(x - 1, top, x + 1, bottom)]
    labels = place(points, [LETTER * len(row.name) + 2 for row in rows], LINE, FRAME, solid)
    return tuple(
        Mark(row, x, y, spread, label, twin, _title(row))
        for row, (x, y), spread, label, twin in zip(rows, points, spreads, labels, twins, strict=True)
    )


def _mean(row: Row, key: str) -> float:
    return row.figures[key].mean


def _twin(row: Row, across: _Scale, upwards: _Scale) -> tuple[float, float] | None:
    figures = row.published.figures if row.published else {}
    if not {"repair_rate", "negative_flip_rate"} <= figures.keys():
        return None
    return across(figures["negative_flip_rate"]), upwards(figures["repair_rate"])


def _spread(row: Row, across: _Scale, upwards: _Scale) -> tuple[float, float, float, float] | None:
    flips, repairs = row.figures["negative_flip_rate"], row.figures["repair_rate"]
    if flips.spread is None or repairs.spread is None:
        return None
    return (
        across(flips.mean - flips.spread),
        across(flips.mean + flips.spread),
        upwards(repairs.mean + repairs.spread),
        upwards(repairs.mean - repairs.spread),
    )


def _title(row: Row) -> str:
    repairs, flips = (value(_mean(row, key), "rate") for key in ("repair_rate", "negative_flip_rate"))
    return f"{row.name}: repair rate {repairs} %, negative flips {flips} %"


def _losing(subject: Subject, across: _Scale, upwards: _Scale) -> tuple[tuple[float, float], ...]:
    """Where accuracy falls: ACC_after - ACC_before = RR (1 - ACC_before) - NFR is negative."""
    accuracy = subject.faulty.figures.get("accuracy")
    if accuracy is None or accuracy.mean >= 1:
        return ()
    errors = 1 - accuracy.mean
    corner = (across(across.top), upwards(0))
    if upwards.top * errors >= across.top:
        return ((across(0), upwards(0)), (across(across.top), upwards(across.top / errors)), corner)
    edge = across(upwards.top * errors)
    return ((across(0), upwards(0)), (edge, upwards(upwards.top)), (across(across.top), upwards(upwards.top)), corner)
