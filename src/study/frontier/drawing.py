"""The frontier as a picture, a table and a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from rich.table import Table

from study.frontier.curves import SAFEGUARDS, Point, best, pairs
from study.frontier.repairs import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES = ("--", ":", "-.")
"""Of the curves of plain training."""
RIVAL = "best other at the flips of alone"
TITLES = {"interpolation": "interpolated weights", "soft_voting": "soft vote"}


def ranked(rows: Sequence[Row], limit: float) -> list[Row]:
    """The rows, those first that repair most at no more than `limit` negative flips."""
    return sorted(rows, key=lambda row: -row.best(limit).repaired)


def answer(rows: Sequence[Row], limit: float) -> str:
    """One sentence: which approach repairs most at this rate of negative flips."""
    row = ranked(rows, limit)[0]
    points = {name: best(curve, limit) for name, curve in row.means.items()}
    name = max(points, key=lambda name: points[name].repaired)
    point = points[name]
    way = "alone" if point.share == 1 else f"by {name} with {100 * point.share:.0f} % of the repaired model"
    return (
        f"At no more than {100 * limit:g} % negative flips {row.approach} repairs most: {100 * point.repaired:.1f} %, "
        f"{way} ({100 * point.broken:.2f} % negative flips)."
    )


def table(rows: Sequence[Row], limit: float) -> Table:
    """Per approach, means over n seeds: the repair alone, the best point of each safeguard within the limit, and which
    of the others repairs most, by a safeguard or alone, at no more negative flips than the repair alone has."""
    shown = Table(title=f"repair rate % / negative flips %, alone and at no more than {100 * limit:g} % negative flips")
    for heading in ("approach", "n", "alone", *(f"{name} (share)" for name in SAFEGUARDS), RIVAL):
        shown.add_column(heading, justify="left" if heading in ("approach", RIVAL) else "right", no_wrap=True)
    for row in ranked(rows, limit):
        means = row.means
        cells = [_cell(best(means[name], limit), share=True) if name in means else "n/a" for name in SAFEGUARDS]
        shown.add_row(row.approach, str(row.seeds), _cell(row.alone), *cells, _rival(row, rows))
    return shown


def _rival(row: Row, rows: Sequence[Row]) -> str:
    """Which other row repairs most at the negative flips of this row's repair alone, and how much."""
    others = [(other.best(row.alone.broken).repaired, other.approach) for other in rows if other is not row]
    if not others:
        return ""
    repaired, approach = max(others)
    return f"{approach} {100 * repaired:.1f}"


def _cell(point: Point, *, share: bool = False) -> str:
    text = f"{100 * point.repaired:.1f} / {100 * point.broken:.2f}"
    return f"{text} ({point.share:.2f})" if share else text


def written(rows: Sequence[Row]) -> str:
    """All points as CSV; rates in [0, 1]."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["subject", "approach", "seed", "safeguard", "share", "repair_rate", "negative_flip_rate"])
    for row in rows:
        for safeguard, by_seed in row.curves.items():
            for seed, points in by_seed.items():
                writer.writerows([row.subject, row.approach, seed, safeguard, *point] for point in points)
    return buffer.getvalue()


def figure(rows: Sequence[Row], limit: float) -> Figure:
    """One panel per safeguard: repair rate (up) against negative flips (right), a curve per approach, means over seeds.

    A dot is the repair alone; plain training is dashed; the vertical line is the limit.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(13, 6), layout="constrained")
    panels = drawn.subplots(1, len(SAFEGUARDS), sharex=True, sharey=True)
    colours, order = colormaps["tab20"].colors, ranked(rows, limit)  # type: ignore[attr-defined]
    for axes, safeguard in zip(panels, SAFEGUARDS, strict=True):
        strokes = cycle(DASHES)
        for number, row in enumerate(order):
            colour, stroke = ("black", next(strokes)) if row.control else (colours[number % len(colours)], "-")
            if safeguard in row.means:
                _draw(axes, row, safeguard, colour, stroke)
        axes.axvline(100 * limit, color="grey", linestyle=":")
        axes.set(title=TITLES[safeguard], xlabel="negative flips, % of all test inputs")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("repair rate, % of failing test inputs")
    known = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    names = [row.approach for row in order]
    drawn.legend([known[name] for name in names], names, loc="outside right upper", fontsize=8)
    drawn.suptitle(f"{rows[0].subject}   (large dot: the repair alone; dotted line: {100 * limit:g} % negative flips)")
    return drawn


def _draw(axes: Axes, row: Row, safeguard: str, colour: object, stroke: str) -> None:
    flips, rates = zip(*pairs(row.means[safeguard]), strict=True)
    axes.plot(flips, rates, stroke, color=colour, marker=".", markersize=3, linewidth=1.4, label=row.approach)
    axes.plot(flips[-1], rates[-1], "o", color=colour, markersize=7)
