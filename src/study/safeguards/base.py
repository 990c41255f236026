"""The contract of a safeguard, and the one that does nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.runtime.settings import settings

NOTE = "fitted_by_safeguard"
"""The attribute that holds a note until `taken_off` it."""


def noted(model: nn.Module, **fitted: float) -> nn.Module:
    """The model with a note of what a safeguard fitted, by name; a job records each as `cost/safeguard_NAME`."""
    vars(model)[NOTE] = fitted
    return model


def taken_off(model: nn.Module) -> dict[str, float]:
    """The note on a model, which has none afterwards; empty without one."""
    return dict(vars(model).pop(NOTE, {}))


@settings
class Safeguard(ABC):
    """Makes one model of the faulty and the repaired one: a frozen value whose fields are its settings."""

    def check(self, task: TaskSpec) -> None:
        """Look at the task alone, before the faulty model is trained.

        Raises NotApplicable where this safeguard cannot be put around any model of it.
        """
        return

    @abstractmethod
    def guard(self, problem: Problem, repaired: nn.Module) -> nn.Module:
        """One model of `problem.faulty` and `repaired`, fitted on the validation split if need be.

        It maps inputs to logits or log-probabilities [B, C], is in eval mode, can be stored
        (`study.storage.models.save_model`) and shares no tensor with `problem.faulty`. `repaired` is in eval mode, on
        the device of the problem, and stays as it is; it may become a part of the result. What was fitted is noted on
        the result (`noted`). Raises NotApplicable where this safeguard cannot be put around this repair.
        """


@settings
class Unguarded(Safeguard):
    """The repaired model answers alone."""

    def guard(self, problem: Problem, repaired: nn.Module) -> nn.Module:
        return repaired
