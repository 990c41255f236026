"""Pictures of a repair that scales neurons: their scores in every layer that was tried, and the search in the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from study.parts.pictures.fitness import draw_fitness
from study.parts.pictures.localised import draw_localised
from study.parts.pictures.scores import draw_scores
from study.parts.search.scaled_neurons import ScaledNeurons

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_scaled(model: nn.Module, found: Sequence[ScaledNeurons], best: ScaledNeurons, label: str) -> dict[str, Figure]:
    """Figures by name; found: by layer, in any order; best: the one that was used; label: what a score measures."""
    scores = {each.neurons.layer: each.scores for each in found}
    chosen = {each.neurons.layer: each.neurons.index for each in found}
    return {
        "localised_weights": draw_localised(model, best.neurons.entries(model)),
        "neuron_scores": draw_scores(scores, chosen, label),
        "fitness": draw_fitness([top.item() for top in best.rounds], best.rounds[0].item(), rounds="iteration"),
    }
