"""The size of the smallest change that a search has found, over its proposals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from study.parts.pictures.fitness import draw_fitness

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_sizes(sizes: Sequence[float]) -> Mapping[str, Figure]:
    """The sizes after each 50 proposals, from that of no proposal on; nothing where there was no search."""
    return {"size": draw_fitness(sizes, None, "size of the change", "proposals (in 50s)")} if len(sizes) else {}
