"""Markdown tables, and their place in the README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table, the header first."""
    return [line_of(header), line_of(["---"] * len(header)), *map(line_of, rows)]


def line_of(cells: Iterable[str]) -> str:
    """A line of a table."""
    return "| " + " | ".join(cells) + " |"


def with_lines(readme: str, mark: str, lines: Iterable[str]) -> str:
    """The README with these lines between the comments `MARK: begin` and `MARK: end`."""
    begin, end = (f"<!-- {mark}: {what} -->" for what in ("begin", "end"))
    before, _, rest = readme.partition(begin)
    _, _, after = rest.partition(end)
    return "\n".join([before + begin, *lines, end + after])
