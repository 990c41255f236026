"""The two pictures of a search over localised weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import nn

from study.parts.network.places import Entries
from study.parts.pictures.fitness import draw_fitness
from study.parts.pictures.localised import draw_localised

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_search(
    model: nn.Module, places: Entries, best: Sequence[float], original: float | None = None
) -> Mapping[str, Figure]:
    """Where the weights at `places` lie, and the best fitness over the generations, beside the faulty model's."""
    return {"localised_weights": draw_localised(model, places), "fitness": draw_fitness(best, original)}
