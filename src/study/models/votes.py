"""Several models that answer as one: votes that lean towards the answers of the model before its repair."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.storage.blueprint import Blueprint, blueprint_of


class SoftVote(nn.Module):
    """The models' probabilities mixed: tau * softmax(before / temperature) + (1 - tau) * softmax(after).

    Maps inputs to log-probabilities [B, C], which serve as logits.
    """

    def __init__(self, before: nn.Module, after: nn.Module, tau: float, temperature: float = 1.0) -> None:
        super().__init__()
        self.before = before
        self.after = after
        self.tau = tau
        self.temperature = temperature

    def forward(self, inputs: Tensor) -> Tensor:
        return mixed(self.before(inputs) / self.temperature, self.after(inputs), self.tau)

    @property
    def blueprint(self) -> Blueprint:
        """How to build this model again: see `study.storage.blueprint`."""
        parts = {"before": blueprint_of(self.before), "after": blueprint_of(self.after)}
        return own_blueprint(self, **parts, tau=self.tau, temperature=self.temperature)


class HardVote(nn.Module):
    """The answer of the model that is more confident in its own; of equally confident ones that of `after`.

    Maps inputs to its log-probabilities [B, C], which serve as logits.
    """

    def __init__(self, before: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.before = before
        self.after = after

    def forward(self, inputs: Tensor) -> Tensor:
        old, new = (functional.log_softmax(model(inputs), 1) for model in (self.before, self.after))
        return torch.where(old.amax(1, keepdim=True) > new.amax(1, keepdim=True), old, new)

    @property
    def blueprint(self) -> Blueprint:
        """How to build this model again: see `study.storage.blueprint`."""
        return own_blueprint(self, before=blueprint_of(self.before), after=blueprint_of(self.after))


class UnanimousVote(nn.Module):
    """Keeps the answer of `before` unless all voters disagree with it.

    With `flip` each voter votes on the mirror image of the input too. The output is that of the vote that leans most
    towards the old answer, as log-probabilities [B, C]: its class differs from the old answer exactly where that of
    every vote does.

    Args:
        before: the model whose answers are kept.
        count: number of voters, all of one architecture and with the weights of `voter`.
        flip: images only.
        voter: a model of that architecture; None: `before`.
    """

    def __init__(self, before: nn.Module, count: int, flip: bool = False, voter: nn.Module | None = None) -> None:
        super().__init__()
        self.before = before
        self.voters = nn.ModuleList(copy.deepcopy(before if voter is None else voter) for _ in range(count))
        self.flip = flip

    @classmethod
    def of(cls, before: nn.Module, voters: Sequence[nn.Module], flip: bool = False) -> UnanimousVote:
        """The vote of models, at least one and all of one architecture, that exist already."""
        vote = cls(before, 0, flip)
        vote.voters = nn.ModuleList(voters)
        return vote

    def forward(self, inputs: Tensor) -> Tensor:
        answers = self.before(inputs).argmax(1)
        views = [inputs, inputs.flip(-1)] if self.flip else [inputs]
        return most_conservative(torch.stack([voter(view) for voter in self.voters for view in views]), answers)

    @property
    def blueprint(self) -> Blueprint:
        """How to build this model again: see `study.storage.blueprint`."""
        parts = {"before": blueprint_of(self.before), "voter": blueprint_of(self.voters[0])}
        return own_blueprint(self, **parts, count=len(self.voters), flip=self.flip)


def mixed(before: Tensor, after: Tensor, tau: float) -> Tensor:
    """log(tau * softmax(before) + (1 - tau) * softmax(after)) of two sets of logits [B, C], 0 < tau < 1."""
    old, new = functional.log_softmax(before, 1), functional.log_softmax(after, 1)
    return torch.logaddexp(old + math.log(tau), new + math.log1p(-tau))


def most_conservative(votes: Tensor, answers: Tensor) -> Tensor:
    """Per input, the vote that leans most towards an answer, as log-probabilities [B, C].

    A vote leans towards an answer by the lead of that class's probability over the best other one (below 0 where
    another class wins), so that the answer loses only if it loses in all votes.

    Args:
        votes: [V, B, C] logits of V votes.
        answers: [B] int64.
    """
    logarithms = functional.log_softmax(votes, 2)
    classes = answers.view(1, -1, 1).expand(len(votes), -1, 1)
    own = logarithms.gather(2, classes)
    best_other = logarithms.scatter(2, classes, -torch.inf).amax(2, keepdim=True)
    chosen = (own.exp() - best_other.exp()).argmax(0, keepdim=True)
    return logarithms.gather(0, chosen.expand(1, -1, votes.shape[2])).squeeze(0)


def own_blueprint(module: nn.Module, **arguments: Any) -> Blueprint:
    """The blueprint of a module of this package that its class makes from these arguments."""
    return {"class": f"{type(module).__module__}.{type(module).__qualname__}", "arguments": arguments}
