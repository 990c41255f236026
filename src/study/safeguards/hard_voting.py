"""The answer of the model that is more confident in its own."""

from __future__ import annotations

from torch import nn

from study.models.votes import HardVote
from study.problem.problem import Problem
from study.runtime.settings import settings
from study.safeguards.base import Safeguard


@settings
class HardVoting(Safeguard):
    """Each model votes for its answer; votes that differ are a tie, which goes to the more confident model.

    On equal confidence the repaired model answers.
    """

    def guard(self, problem: Problem, repaired: nn.Module) -> nn.Module:
        return HardVote(problem.copy(), repaired).eval()
