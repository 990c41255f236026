"""Several models that answer as one: votes that lean towards the answers of the model before its repair."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.storage.models import Blueprint, blueprint_of

GRID = [step / 20 for step in range(20)]
"""Weights of the old model that are tried: 0, 0.05, .. 0.95."""


class SoftVote(nn.Module):
    """The models' probabilities mixed: tau * softmax(before) + (1 - tau) * softmax(after).

    Maps inputs to log-probabilities [B, C], which serve as logits.
    """

    def __init__(self, before: nn.Module, after: nn.Module, tau: float) -> None:
        super().__init__()
        self.before = before
        self.after = after
        self.tau = tau

    def forward(self, inputs: Tensor) -> Tensor:
        return mixed(self.before(inputs), self.after(inputs), self.tau)

    @property
    def blueprint(self) -> Blueprint:
        """How to build this model again: see `study.storage.models`."""
        parts = {"before": blueprint_of(self.before), "after": blueprint_of(self.after)}
        return _blueprint(self, **parts, tau=self.tau)


class UnanimousVote(nn.Module):
    """Keeps the answer of `before` unless all voters disagree with it.

    The voters are `count` models of the architecture of `before`; with `flip` each votes on the mirror image too. The
    output is that of the vote that leans most towards the old answer, as log-probabilities [B, C]: its class is another
    one exactly where every vote is for another one.
    """

    def __init__(self, before: nn.Module, count: int, flip: bool = False) -> None:
        super().__init__()
        self.before = before
        self.voters = nn.ModuleList(copy.deepcopy(before) for _ in range(count))
        self.flip = flip

    @classmethod
    def of(cls, before: nn.Module, voters: list[nn.Module], flip: bool = False) -> UnanimousVote:
        """The vote of models that exist already."""
        vote = cls(before, len(voters), flip)
        vote.voters = nn.ModuleList(voters)
        return vote

    def forward(self, inputs: Tensor) -> Tensor:
        answer = self.before(inputs).argmax(1)
        views = [inputs, inputs.flip(-1)] if self.flip else [inputs]
        return most_conservative(torch.stack([voter(view) for voter in self.voters for view in views]), answer)

    @property
    def blueprint(self) -> Blueprint:
        """How to build this model again: see `study.storage.models`."""
        return _blueprint(self, before=blueprint_of(self.before), count=len(self.voters), flip=self.flip)


def mixed(before: Tensor, after: Tensor, tau: float) -> Tensor:
    """log(tau * softmax(before) + (1 - tau) * softmax(after)) of two sets of logits [B, C], 0 < tau < 1."""
    old, new = functional.log_softmax(before, 1), functional.log_softmax(after, 1)
    return torch.logaddexp(old + math.log(tau), new + math.log1p(-tau))


def most_conservative(votes: Tensor, answer: Tensor) -> Tensor:
    """Of the votes [V, B, C] (logits), per input the log-probabilities [B, C] of the one most for class `answer` [B].

    "Most" is by the lead of that class's probability over the best other one, so that it loses only if it loses in all.
    """
    logarithms = functional.log_softmax(votes, 2)
    place = answer.view(1, -1, 1).expand(len(votes), -1, 1)
    own = logarithms.gather(2, place)
    best_other = logarithms.scatter(2, place, -torch.inf).amax(2, keepdim=True)
    chosen = (own.exp() - best_other.exp()).argmax(0, keepdim=True)
    return logarithms.gather(0, chosen.expand(1, -1, votes.shape[2])).squeeze(0)


def smallest_tau(before: Tensor, after: Tensor, labels: Tensor, most: float) -> float:
    """The smallest weight of the old model in `GRID` at which the vote's negative flips are at most the share `most`.

    Args:
        before, after: [N, C] logits on the same inputs.
        labels: [N] long.

    Returns:
        The largest weight of the grid where none suffices.
    """
    was_right = before.argmax(1) == labels
    for tau in GRID:
        logits = mixed(before, after, tau) if tau else after
        if (was_right & (logits.argmax(1) != labels)).double().mean().item() <= most:
            return tau
    return GRID[-1]


def _blueprint(module: nn.Module, **arguments: Any) -> Blueprint:
    return {"class": f"{type(module).__module__}.{type(module).__qualname__}", "arguments": arguments}
