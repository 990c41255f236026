"""Fitness of patches: a weighted sum over repair inputs, dropping early what cannot win."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from study.parts.network.tail import ALL
from study.parts.search.evolution import Population
from study.parts.search.growing_parts import growing_parts
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
        self._parts = growing_parts(len(targets), self.PARTS)

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


class TwoLosses:
    """(fixed + 1) / (L_neg + 1) + alpha * (kept + 1) / (L_pos + 1), as the eAI Repair Toolkit has it, to be maximised.

    fixed: targets that are right; kept: other inputs that are right, both as counts (DistrRep) or as shares of all
    targets and of all others (NeuRecover); L: the mean cross-entropy of the targets, and of the others.
    """

    def __init__(self, evaluation: Patches, targets: Tensor, alpha: float = 1.0, *, shares: bool) -> None:
        """targets: [N] bool, in the order of the evaluation's items; some and not all of them."""
        self.evaluation, self.targets, self.alpha = evaluation, targets, alpha
        self._kinds = torch.stack([targets, ~targets], 1).double()  # [N, 2]
        self._sizes = self._kinds.sum(0)
        self._unit = self._sizes if shares else torch.ones_like(self._sizes)
        self.ceiling = float((self._sizes / self._unit + 1) @ self._sizes.new_tensor([1.0, alpha]))

    @property
    def device(self) -> torch.device:
        return self.targets.device

    def __call__(self, values: Tensor, floors: Tensor | None = None) -> Tensor:
        """Fitness [P] float64 of the patches `values` [P, D], whatever the floors."""
        right, loss = self.evaluation.scores(values, ALL)
        most = torch.finfo(loss.dtype).max  # in place of a loss without end, which would spoil the other term as well
        counts, losses = right.double() @ self._kinds, loss.nan_to_num(nan=most).double() @ self._kinds  # [P, 2]
        terms = (counts / self._unit + 1) / (losses / self._sizes + 1)
        return terms[:, 0] + self.alpha * terms[:, 1]

    def summary(self, population: Population) -> Mapping[str, Tensor]:
        """See `SoftCount.summary`."""
        right = self.evaluation.scores(population.best[None], ALL).right[0].double()
        fixed, kept = right @ self._kinds / self._sizes
        return {
            "search/best_fitness": population.fitness.max(),
            "search/failing_fixed": fixed,
            "search/passing_kept": kept,
        }
