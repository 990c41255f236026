"""Fitness of patches: a weighted sum over repair inputs, dropping early what cannot win."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

from study.parts.network.tail import ALL
from study.parts.search.evolution import Population
from study.parts.search.patches import Patches, Scores


class SoftCount:
    """Sum over the inputs of phi = 1 if right, else 1 / (cross-entropy + 1); targets weigh alpha (Arachne, TOSEM 2023).

    The inputs are evaluated in parts, the hardest first, and a trial that can no longer reach its floor is dropped.
    """

    PARTS = (0.05, 0.25, 1.0)
    SLACK = 1e-6  # more than the sums can be off by rounding

    def __init__(self, evaluation: Patches, targets: Tensor, alpha: float) -> None:
        """targets: [N] bool, in the order of the evaluation's items: the failing inputs to repair."""
        self.evaluation, self.targets = evaluation, targets
        self.weights = torch.where(targets, alpha, 1.0).double()
        self.ceiling = self.weights.sum().item()
        ends = sorted({0, *(-int(-part * len(targets) // 1) for part in self.PARTS)})  # few inputs: fewer parts
        self._parts = [slice(first, last) for first, last in pairwise(ends)]

    def __call__(self, values: Tensor, floors: Tensor | None = None) -> Tensor:
        """Fitness [P] float64 of the patches `values` [P, D]; below its floor [P], only part of the sum."""
        total = torch.zeros(len(values), dtype=torch.float64, device=values.device)
        alive = torch.arange(len(values), device=values.device)
        for rows in self._parts:
            total[alive] += phi(self.evaluation.scores(values[alive], rows)) @ self.weights[rows]
            if floors is not None:
                reachable = total[alive] + self.weights[rows.stop :].sum() + self.SLACK
                alive = alive[reachable >= floors[alive]]
            if not len(alive):
                break
        return total

    def summary(self, population: Population) -> Mapping[str, Tensor]:
        """What to log of a generation: the best fitness, and the shares of targets fixed and of passing inputs kept."""
        right = self.evaluation.scores(population.best[None], ALL).right[0].double()
        return {
            "search/best_fitness": population.fitness.max(),
            "search/failing_fixed": right[self.targets].mean(),
            "search/passing_kept": right[~self.targets].mean(),
        }


def phi(scores: Scores) -> Tensor:
    """1 for a right answer, else 1 / (cross-entropy + 1): float64, shaped as the scores."""
    return torch.where(scores.right, 1.0, 1 / (scores.loss + 1)).double()
