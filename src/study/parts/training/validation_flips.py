"""What a repair does to the validation split, and which of several states of a network to keep by that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from study.data.split import Split
from study.problem.prediction import right
from study.runtime.best_state import BestState

Select = Literal["score", "last"]


@dataclass(frozen=True)
class Flips:
    """Shares in [0, 1]: accuracy; of the inputs wrong before, those right now (0 without any); of all inputs, those
    right before and wrong now."""

    accuracy: float
    repair_rate: float
    negative_flip_rate: float

    def log(self) -> dict[str, float]:
        """The shares under the names of their curves."""
        return {
            "validation/accuracy": self.accuracy,
            "validation/repair_rate": self.repair_rate,
            "validation/negative_flip_rate": self.negative_flip_rate,
        }


def flips_of(before: Tensor, network: nn.Module, split: Split) -> Flips:
    """Of a network that was right on `before` [N] bool, on `split` as it takes it, [N] items."""
    after = right(network, split)
    fixed, broken = (after & ~before).sum(), (before & ~after).sum()
    now_right, fixes, breaks = torch.stack([after.sum(), fixed, broken]).tolist()
    wrong = len(before) - (now_right - fixes + breaks)
    return Flips(now_right / len(after), fixes / max(1, wrong), breaks / len(after))


@dataclass(frozen=True)
class Rule:
    """Which state to keep.

    select: the one of the largest `score`, or the `last`; beta: weight of negative flips in the score; accuracy_drop,
    failures_left: a state ends the search, and is kept, with an accuracy no lower than the faulty model's by more than
    the first, and a share of the failing inputs still wrong that is below the second; guard: only a state with an
    accuracy no lower than the faulty model's is kept.
    """

    select: Select
    beta: float
    accuracy_drop: float
    failures_left: float
    guard: bool

    def score(self, flips: Flips) -> float:
        """Repair rate - beta * negative flip rate; 0 of the faulty model."""
        return flips.repair_rate - self.beta * flips.negative_flip_rate


class Candidates:
    """States of a network that were measured, and the one that is kept.

    accuracy: of the faulty model; flips: of each state offered; kept: number of the one that is kept, None so far.
    """

    def __init__(self, rule: Rule, accuracy: float) -> None:
        self.rule, self.accuracy = rule, accuracy
        self.flips: list[Flips] = []
        self.kept: int | None = None
        self._best = BestState()

    def offer(self, flips: Flips, model: nn.Module) -> bool:
        """Take the present state of `model`; returns whether it ends the search."""
        self.flips.append(flips)
        if self.rule.guard and flips.accuracy < self.accuracy:
            return False
        ends = (
            flips.accuracy >= self.accuracy - self.rule.accuracy_drop
            and 1 - flips.repair_rate < self.rule.failures_left
        )
        place = len(self.flips) - 1
        score = math.inf if ends else self.rule.score(flips) if self.rule.select == "score" else float(place)
        if self._best.offer(score, model):
            self.kept = place
        return ends

    def restore(self, model: nn.Module) -> None:
        """Put the state that is kept into `model`, which stays as it is without one."""
        self._best.restore(model)
