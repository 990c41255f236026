"""A guard over a search: of the best vectors it saw, the fittest that does not lower validation accuracy.

No paper of a search has it; a fitness over the repair set alone is easily bought with errors elsewhere.
"""

from __future__ import annotations

import math

import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from study.errors import RepairFailed
from study.parts.network.places import Places
from study.parts.network.tail import ALL
from study.parts.search.evolution import Population
from study.parts.search.patches import patches
from study.problem.prediction import right
from study.problem.problem import Problem

LOWERS_ACCURACY = "every repair found lowers validation accuracy (guard=false hands over the fittest all the same)"

CHANCE = 0.05
"""A fall in accuracy is clear that is less probable than this by chance alone."""


class Guard:
    """Watches a search for values of `places` in the faulty model of `problem`.

    Candidates are the fittest vector of each round and, at the end, the whole last population; of them those alone
    whose fitness is above `floor`. history: the best fitness of each round.
    """

    def __init__(self, problem: Problem, places: Places, floor: float = -math.inf) -> None:
        self.problem, self.places, self.floor = problem, places, floor
        self.history: list[float] = []
        self._bests: list[Tensor] = []
        self._fitness: list[Tensor] = []
        self._last: Population | None = None

    def watch(self, population: Population) -> None:
        """Remember the fittest vector of a round, if it is better than those before."""
        top = population.fitness.max()
        self.history.append(float(top))
        if not self._fitness or top > self._fitness[-1]:
            self._bests.append(population.best)
            self._fitness.append(top)
        self._last = population

    def settled(self, *, guarded: bool, unbeaten: str, **costs: float) -> Tensor:
        """The vector to hand over, [D]: the fittest seen or, if `guarded`, the one that is `chosen`.

        Raises RepairFailed, with `unbeaten` as reason where none is above the floor, and `LOWERS_ACCURACY` where none
        is chosen.
        """
        assert self._last is not None
        if self.floor > -math.inf and not self.history[-1] > self.floor:
            raise RepairFailed(unbeaten, **costs)
        values = self.chosen() if guarded else self._last.best
        if values is None:
            raise RepairFailed(LOWERS_ACCURACY, **costs)
        return values

    def chosen(self) -> Tensor | None:
        """The fittest vector [D] with which no fewer validation inputs are right than before; None if there is none."""
        if self._last is None:
            return None
        vectors = torch.cat([torch.stack(self._bests), self._last.vectors])
        fitness = torch.cat([torch.stack(self._fitness), self._last.fitness])
        validation = self.problem.validation
        evaluation = patches(self.problem.faulty, self.places, validation, torch.arange(len(validation)))
        before = self.places.values(self.problem.faulty)
        counts = evaluation.scores(torch.cat([before[None], vectors]), ALL).right.sum(1)
        kept = (counts[1:] >= counts[0]) & (fitness > self.floor)
        if not kept.any():
            return None
        return vectors[fitness.masked_fill(~kept, -torch.inf).argmax()]


def keeps_accuracy(problem: Problem, model: nn.Module) -> bool:
    """Whether `model` is right on no fewer validation inputs than the faulty model."""
    after, before = right(model, problem.validation), right(problem.faulty, problem.validation)
    return bool(after.sum() >= before.sum())


def fall_of(problem: Problem, model: nn.Module) -> str | None:
    """In words, how far validation accuracy falls from the faulty model to `model`; None where it does not clearly.

    A faulty model that was trained here (it has a history) is the epoch that was best on validation, so that its count
    there flatters it: `model` has to fall below its accuracy on the repair split too, which had no part in the choice.
    """
    before, after = (right(each, problem.validation) for each in (problem.faulty, model))
    if not clearly_loses(before, after):
        return None
    unflattered = len(problem.passing) / len(problem.repair_set)
    if problem.history is not None and after.double().mean().item() >= unflattered:
        return None
    return f"{int(after.sum())} of {len(after)} right, {int(before.sum())} before"


def clearly_loses(before: Tensor, after: Tensor) -> bool:
    """Whether fewer items are right after than before, by more than chance explains at 5 % (exact one-sided sign test).

    Args:
        before, after: [N] bool, whether each item is right.

    >>> old = torch.arange(20) < 10
    >>> clearly_loses(old, torch.arange(20) < 6), clearly_loses(old, torch.arange(20) < 5)
    (False, True)
    """
    broken, repaired = int((before & ~after).sum()), int((after & ~before).sum())
    return broken > 0 and bool(binomtest(repaired, broken + repaired, alternative="less").pvalue < CHANCE)
