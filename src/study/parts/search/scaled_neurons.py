"""What a search for factors of neurons comes to in one layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from study.parts.network.places import Columns


class ScaledNeurons(NamedTuple):
    """Factors of what some neurons send to a layer.

    neurons: D of them; factors: [D]; fitness: of the factors, []; scores: of all N neurons that enter the layer, by
    which the D were chosen, [N]; rounds: best fitness seen, of the unchanged model and after each round, [] each.
    """

    neurons: Columns
    factors: Tensor
    fitness: Tensor
    scores: Tensor
    rounds: Sequence[Tensor]


def fittest(found: Sequence[ScaledNeurons]) -> ScaledNeurons:
    """The fittest of several layers' results; of equals the first."""
    return max(found, key=lambda each: each.fitness.item())
