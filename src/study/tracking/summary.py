"""A job's result in one line."""

from __future__ import annotations

from study.tracking.result import Result

FORMATS = {"rate": "{:.2%}", "seconds": "{:.1f} s"}


def summary(result: Result) -> str:
    """Name, outcome and the figures that the metrics themselves call a summary: before, and after if there is one."""
    reason = result.tags.get("reason")
    parts = [f"{result.run_name}: {result.tags.get('outcome', 'crashed')}" + (f" ({reason})" if reason else "")]
    for name, description in result.properties.items():
        if not description.summary:
            continue
        write = FORMATS.get(description.unit, "{:.4g}").format
        values = [result.metrics.get(key) for key in (f"before/{name}", f"after/{name}", name)]
        written = [write(value) for value in values if value is not None]
        if written:
            parts.append(f"{description.label} {' to '.join(written)}")
    return ", ".join(parts)
