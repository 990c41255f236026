"""The contract of a safeguard, and the one that does nothing."""

from __future__ import annotations

from torch import nn

from study.problem.problem import Problem


class Safeguard:
    """Combines the faulty and the repaired model into one that answers for both."""

    def wrap(self, problem: Problem, after: nn.Module) -> nn.Module:
        """The module to be measured: `after` joined with `problem.faulty`, fitted on the validation split if need be.

        It gives logits (or log-probabilities), is in eval mode and can be stored (`study.storage.models.save_model`).
        """
        raise NotImplementedError


class Unguarded(Safeguard):
    """The repaired model answers alone."""

    def wrap(self, problem: Problem, after: nn.Module) -> nn.Module:
        return after
