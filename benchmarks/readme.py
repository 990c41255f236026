"""Tables in the README, between two marks."""

from __future__ import annotations

from collections.abc import Iterable


def with_lines(readme: str, mark: str, lines: Iterable[str]) -> str:
    """The README with these lines between the comments `MARK: begin` and `MARK: end`."""
    begin, end = (f"<!-- {mark}: {what} -->" for what in ("begin", "end"))
    before, _, rest = readme.partition(begin)
    _, _, after = rest.partition(end)
    return "\n".join([before + begin, *lines, end + after])
