"""The contract of a safeguard, and the one that does nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import field as standard_field
from typing import TypeVar, dataclass_transform

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import nn

from study.problem.problem import Problem
from study.problem.task import TaskSpec

_Class = TypeVar("_Class", bound=type)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field, standard_field))
def settings(safeguard: _Class) -> _Class:
    """Class decorator: the annotated fields are keyword arguments that pydantic checks, and cannot be changed later."""
    return dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))(safeguard)  # type: ignore[return-value]


@settings
class Safeguard(ABC):
    """Makes one model of the faulty and the repaired one: a frozen value whose fields are its settings."""

    def check(self, task: TaskSpec) -> None:
        """Look at the task alone, before the faulty model is trained.

        Raises NotApplicable where this safeguard cannot be put around a model of it.
        """
        return

    @abstractmethod
    def guard(self, problem: Problem, repaired: nn.Module) -> nn.Module:
        """One model of `problem.faulty` and `repaired`, fitted on the validation split if need be.

        It maps inputs to logits or log-probabilities [B, C], is in eval mode, can be stored
        (`study.storage.models.save_model`) and shares no tensor with `problem.faulty`. `repaired` is in eval mode, on
        the device of the problem, and stays as it is; it may become a part of the result.
        """


@settings
class Unguarded(Safeguard):
    """The repaired model answers alone."""

    def guard(self, problem: Problem, repaired: nn.Module) -> nn.Module:
        return repaired
