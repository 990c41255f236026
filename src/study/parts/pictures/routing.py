"""Pictures of a repair by routing: the votes on the weights, where the masks lie, and the states that were measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from study.parts.network.places import Entries
from study.parts.pictures.fitness import draw_fitness
from study.parts.pictures.localised import draw_localised
from study.parts.pictures.scores import draw_scores
from study.parts.training.validation_flips import Candidates

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_routing(
    model: nn.Module, votes: Mapping[str, Tensor], masks: Mapping[str, Tensor], candidates: Candidates
) -> Mapping[str, Figure]:
    """Figures by name; votes and masks of the weight of each layer, by the layer's name."""
    layers = [name for name, _ in model.named_modules() if name in masks]  # in the order they run
    positions = torch.cat([masks[layer].flatten() for layer in layers]).nonzero().flatten()
    chosen = {layer: mask.flatten().nonzero().flatten() for layer, mask in masks.items()}
    scores = [candidates.rule.score(flips) for flips in candidates.flips]
    return {
        "votes": draw_scores(votes, chosen, "votes"),
        "localised_weights": draw_localised(model, Entries.pooled(model, layers, positions)),
        "score": draw_fitness(scores, 0.0, "repair rate - beta * negative flips", "state"),
    }
