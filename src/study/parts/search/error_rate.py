"""Fitness of patches: minus a weighted error rate, dropping early what cannot win."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from study.parts.network.tail import ALL
from study.parts.search.evolution import Population
from study.parts.search.growing_parts import growing_parts
from study.parts.search.patches import Patches


class ErrorRate:
    """-((1 - alpha) * share of the targets that are wrong + alpha * share of the other inputs that are wrong).

    After CARE (ICSE 2022), which minimises it: targets are failing inputs, the others passing ones. The inputs are
    evaluated in parts, the hardest first, and a vector that can no longer beat its floor is dropped; whole numbers are
    counted, so that this changes no result. A share of no inputs is 0.
    """

    PARTS = (0.05, 0.25, 1.0)
    ceiling = 0.0

    def __init__(self, evaluation: Patches, targets: Tensor, alpha: float) -> None:
        """targets: [N] bool, in the order of the evaluation's items."""
        self.evaluation = evaluation
        self._kinds = torch.stack([targets, ~targets], 1).double()  # [N, 2]
        self._weights = self._kinds.new_tensor([1 - alpha, alpha]) / self._kinds.sum(0).clamp(min=1)
        self._parts = growing_parts(len(targets), self.PARTS)

    def __call__(self, values: Tensor, floors: Tensor | None = None) -> Tensor:
        """Fitness [P] float64 of the patches `values` [P, D]; below its floor [P], a bound that is below it too."""
        wrong = torch.zeros(len(values), 2, dtype=torch.float64, device=values.device)
        alive = torch.arange(len(values), device=values.device)
        for rows in self._parts:
            wrong[alive] += (~self.evaluation.scores(values[alive], rows).right).double() @ self._kinds[rows]
            if floors is not None:
                alive = alive[-(wrong[alive] * self._weights).sum(1) >= floors[alive]]
            if not len(alive):
                break
        return -(wrong * self._weights).sum(1)

    def summary(self, population: Population) -> Mapping[str, Tensor]:
        """What to log of a round: the best fitness, and the shares of targets fixed and of passing inputs kept."""
        right = self.evaluation.scores(population.best[None], ALL).right[0].double() @ self._kinds
        fixed, kept = right / self._kinds.sum(0).clamp(min=1)
        return {
            "search/best_fitness": population.fitness.max(),
            "search/failing_fixed": fixed,
            "search/passing_kept": kept,
        }
