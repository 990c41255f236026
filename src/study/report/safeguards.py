"""What each safeguard makes of a repair: box plots over seeds, a panel per property."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from study.report.comparison import Row, Subject
from study.report.properties import Property

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ALONE = "none"
"""The safeguard of a repair that answers by itself."""
COLUMNS = 2
WIDTH = 0.8
"""Of all boxes of a safeguard together, where the next one's begin at 1."""

Boxes = Mapping[str, Mapping[str, Row]]
"""Rows by the name of the repair, then by that of the safeguard, `ALONE` first."""


def boxes(subject: Subject) -> Boxes:
    """The repairs of a subject that were measured with a safeguard and without one, or with several.

    One that was measured in several ways stands once for each.
    """
    found: dict[str, dict[str, Row]] = {}
    for row in subject.rows:
        if row.repaired:
            safeguard = row.name.partition(" + ")[2] or ALONE + row.name.removeprefix(row.repair)
            found.setdefault(row.repair, {})[safeguard] = row
    guarded = {repair for repair, rows in found.items() if any(row.safeguard != ALONE for row in rows.values())}
    return {repair: rows for repair, rows in found.items() if len(rows) > 1 and repair in guarded}


def shown(drawn: Boxes, properties: Sequence[Property]) -> list[Property]:
    """The properties of the main table that are rates, have a better direction, and that some of the rows have."""
    known = {key for rows in drawn.values() for row in rows.values() for key in row.figures}
    return [
        item
        for item in properties
        if item.summary and item.unit == "rate" and item.higher_is_better is not None and item.key in known
    ]


def picture(subject: Subject, properties: Sequence[Property]) -> bytes | None:
    """The figure of a subject as PNG; None where no repair has several safeguards, or no property is to be shown."""
    drawn = boxes(subject)
    panels = shown(drawn, properties)
    if not panels:
        return None
    buffer = io.BytesIO()
    figure(subject, drawn, panels).savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def figure(subject: Subject, drawn: Boxes, panels: Sequence[Property]) -> Figure:
    """A panel per property: the safeguards beside each other, a box over seeds for each repair.

    Dashed is the faulty model. A box goes from the first to the third quartile, its whiskers to the least and the
    largest value; each seed is a dot.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    safeguards = _in_order(name for rows in drawn.values() for name in rows)
    columns = min(COLUMNS, len(panels))
    size = (max(5.0, 1.0 + 0.45 * len(safeguards) * len(drawn)) * columns, 2.9 * math.ceil(len(panels) / columns) + 1.6)
    whole = Figure(figsize=size, layout="constrained")
    axes = whole.subplots(math.ceil(len(panels) / columns), columns, squeeze=False, sharex=True).flatten()
    colours = colormaps["tab10"].colors  # type: ignore[attr-defined]
    for panel, item in zip(axes, panels, strict=False):
        for place, (repair, rows) in enumerate(drawn.items()):
            offset = WIDTH * ((place + 0.5) / len(drawn) - 0.5)
            name = f"{repair} (n={max(row.repaired for row in rows.values())})"
            _draw(panel, rows, item, safeguards, offset, WIDTH / len(drawn), colours[place % len(colours)], name)
        before = subject.faulty.figures.get(item.key)
        if before is not None:
            panel.axhline(100 * before.mean, color="grey", linestyle="--", linewidth=1, label="faulty model")
        panel.set_title(f"{item.label} % {item.arrow}", fontsize=11)
        panel.set_xticks(range(len(safeguards)), safeguards, rotation=30, ha="right")
        panel.grid(axis="y", alpha=0.3)
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    for panel in axes[max(0, len(panels) - columns) : len(panels)]:
        panel.tick_params(labelbottom=True)  # the one above an empty place too
    known = {label: line for panel in axes for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    if len(panels) < len(axes):
        axes[-1].legend(list(known.values()), list(known), loc="center", fontsize=11)
    else:
        whole.legend(list(known.values()), list(known), loc="outside lower center", ncols=4, fontsize=9)
    whole.suptitle(f"{subject.name}: safeguards around a repair")
    return whole


def _draw(
    axes: Axes,
    rows: Mapping[str, Row],
    item: Property,
    safeguards: Sequence[str],
    offset: float,
    width: float,
    colour: object,
    repair: str,
) -> None:
    """The boxes of one repair; offset: of their middles from the place of the safeguard."""
    measured = {name: row.figures[item.key] for name, row in rows.items() if item.key in row.figures}
    if not measured:
        return
    values = [[100 * value for value in figure.by_seed.values()] for figure in measured.values()]
    places = [safeguards.index(name) + offset for name in measured]
    made = axes.boxplot(values, positions=places, widths=0.85 * width, whis=(0, 100), patch_artist=True, zorder=2)
    for box in made["boxes"]:
        box.set(facecolor=colour, alpha=0.45, edgecolor=colour)
    made["boxes"][0].set_label(repair)
    for line in (*made["medians"], *made["whiskers"], *made["caps"]):
        line.set(color=colour, linewidth=1.3)
    for place, own in zip(places, values, strict=True):
        axes.plot([place] * len(own), own, ".", color="black", markersize=4, zorder=3)


def _in_order(names: Iterable[str]) -> list[str]:
    """Each name once, `ALONE` first."""
    return sorted(dict.fromkeys(names), key=lambda name: not name.startswith(ALONE))
