"""Numbers as a reader sees them: rates in percent, times and memory in the unit that suits them."""

import math
from collections.abc import Sequence

from study.report.comparison import Figure
from study.report.properties import Property, Unit

NOTHING, NOT_APPLICABLE = "\N{EN DASH}", "n/a"


def value(number: float, unit: Unit) -> str:
    """A number with its unit; percent carries none, since the column's heading says so."""
    match unit:
        case "rate":
            return f"{100 * number:.2f}"
        case "seconds":
            return duration(number)
        case "MiB":
            return f"{number:.0f} MiB" if number < 1000 else f"{number / 1024:.1f} GiB"
        case "count":
            return f"{number:,.0f}"
        case "number":
            return f"{number:.4g}"


def duration(seconds: float) -> str:
    """0.42 s, 13.2 s, 4 min 12 s, 13 h 46 min."""
    if seconds < 9.95:
        return f"{seconds:.2f} s"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 20 else f"{seconds:.0f} s"
    whole = math.floor(seconds + 0.5)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = math.floor(seconds / 60 + 0.5)
    return f"{minutes // 60} h {minutes % 60} min"


def gain(fraction: float) -> str:
    """A relative gain in percent with its sign; zero has none."""
    text = f"{100 * fraction:+.2f}"
    unsigned = text.lstrip("+-")
    return f"{unsigned if float(text) == 0 else text} %".replace("-", "\N{MINUS SIGN}")


def spread(figure: Figure, unit: Unit) -> str:
    """The standard deviation over seeds, or nothing for a single seed."""
    if figure.spread is None:
        return ""
    if unit == "MiB" and figure.mean >= 1000:
        return f"± {figure.spread / 1024:.1f} GiB"
    if unit == "seconds" and figure.spread < 59.5:
        # As many decimals as the mean has.
        return f"± {figure.spread:.{2 if figure.mean < 9.95 else 1 if figure.mean < 20 else 0}f} s"
    return f"± {value(figure.spread, unit)}"


def heading(item: Property) -> str:
    """A column's name with its unit and the direction that is better."""
    marks = [mark for mark in ("%" if item.unit == "rate" else "", item.arrow) if mark]
    # No line break between a unit and its arrow.
    return f"{item.label} {chr(160).join(marks)}".strip()


def left_out(number: int) -> str:
    """How many older runs do not count, as a sentence."""
    runs, were = ("run", "was") if number == 1 else ("runs", "were")
    return f"{number} older {runs} of the same jobs {were} left out: the newest finished one counts."


def flattered(properties: Sequence[Property]) -> str:
    """The columns that a masked gradient flatters."""
    return " and ".join(item.label for item in properties if item.maskable)


def not_applicable(item: Property, reason: str) -> str:
    """Why a property has no column, as a sentence."""
    return f"{item.label} is not applicable: {reason}."
