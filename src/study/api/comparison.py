"""What a repair changed, as numbers and pictures that a notebook shows."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from study.data.module import DataModule
from study.metrics.description import Description
from study.metrics.measured import Measured
from study.metrics.robustness import NO_RADIUS
from study.tracking.pictures import pictures_of

FORMATS = {"rate": "{:.2%}", "seconds": "{:.2f} s", "MiB": "{:.0f} MiB", "count": "{:,.0f}"}
NO_ROBUSTNESS = "robustness is not measured: the data states no radius of attacks (study.Data(epsilon=...) does)"


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison:
    """Two models compared on the test split.

    metrics: `before/NAME`, `after/NAME` and `gain/NAME` (relative, positive is better), rates in [0, 1], and the ends
    `low/NAME` and `high/NAME` of the 95 % interval of `after/NAME`; pictures: confusion matrices, the failing pairs of
    classes, and of images those that were fixed and newly broken, by name; not_applicable: why a metric has no value,
    by NAME; before, after: logits [N, C] on the test split. Printed, and shown in a notebook, as a table of the main
    metrics, with a line on robustness where it was asked for and is not there.
    """

    metrics: Mapping[str, float]
    pictures: Mapping[str, Image.Image]
    not_applicable: Mapping[str, str]
    before: Tensor
    after: Tensor
    descriptions: Mapping[str, Description]

    def rows(self) -> list[tuple[str, str, str]]:
        """Label, value before and value after of each main metric, as text."""
        rows = []
        for name, text in self.descriptions.items():
            if not text.summary:
                continue
            written = FORMATS.get(text.unit, "{:.4g}").format
            values = [self.metrics.get(f"{when}/{name}") for when in ("before", "after")]
            alone = self.metrics.get(name)
            before, after = (values[0], values[1]) if alone is None else (None, alone)
            if before is not None or after is not None:
                rows.append((text.label, _written(before, written), _written(after, written)))
        return rows

    @property
    def lack(self) -> str:
        """Why the table holds no robustness though it was asked for; empty otherwise."""
        return NO_ROBUSTNESS if NO_RADIUS in self.not_applicable.values() else ""

    def __repr__(self) -> str:
        rows = [("", "before", "after"), *self.rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in rows]
        return "\n".join([*lines, self.lack] if self.lack else lines)

    def _repr_html_(self) -> str:
        cells = [("", "before", "after"), *self.rows()]
        lines = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in cells]
        return f"<table>{''.join(lines)}</table>" + (f"<p>{html.escape(self.lack)}</p>" if self.lack else "")


def _written(value: float | None, written: Callable[[float], str]) -> str:
    return "" if value is None else written(value)


def comparison_fields(data: DataModule, before: Tensor, after: Tensor, measured: Measured) -> dict[str, Any]:
    """The fields of a `Comparison`."""
    drawn = pictures_of(data, before, after)
    return {
        "metrics": dict(measured.values),
        "pictures": {name: Image.open(io.BytesIO(content)) for name, content in drawn.items()},
        "not_applicable": dict(measured.not_applicable),
        "before": before.cpu(),
        "after": after.cpu(),
        "descriptions": dict(measured.descriptions),
    }
