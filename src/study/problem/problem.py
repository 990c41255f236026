"""What an approach may see of a subject: a faulty model and the data to repair it with. Never the test split."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from study.data.split import Split
from study.problem.faulty import Faulty
from study.problem.pool import Pool
from study.problem.prediction import right
from study.problem.recipe import Recipe
from study.problem.task import TaskSpec
from study.runtime.randomness import derived_seed, stream


@dataclass(frozen=True)
class Problem:
    """A faulty model and the data to repair it with.

    faulty: in eval mode, not to be changed (work on `copy()`); train, validation, repair_set: three of the four splits;
    failing, passing: indices into the repair set ([F], [P] int64, ascending) of the inputs that `faulty` gets wrong and
    right; task: see `TaskSpec`; recipe: how `faulty` was trained; seed: of the job's random streams; history: the model
    one epoch earlier, or None; make_model: makes the architecture newly initialised, None for an opaque module.
    """

    faulty: nn.Module
    train: Split
    validation: Split
    repair_set: Split
    failing: Tensor
    passing: Tensor
    task: TaskSpec
    recipe: Recipe
    seed: int
    history: nn.Module | None = None
    make_model: Callable[[], nn.Module] | None = field(default=None, repr=False)

    @classmethod
    def posed_by(
        cls,
        faulty: Faulty,
        splits: Mapping[str, Split],
        task: TaskSpec,
        recipe: Recipe,
        seed: int,
        make_model: Callable[[], nn.Module] | None = None,
    ) -> Problem:
        """The problem that a trained model poses on the splits `train`, `validation` and `repair`."""
        correct = right(faulty.model, splits["repair"])
        return cls(
            faulty=faulty.model,
            history=faulty.history,
            train=splits["train"],
            validation=splits["validation"],
            repair_set=splits["repair"],
            failing=(~correct).nonzero().flatten(),
            passing=correct.nonzero().flatten(),
            task=task,
            recipe=recipe,
            seed=seed,
            make_model=make_model,
        )

    @property
    def device(self) -> torch.device:
        return self.repair_set.device

    @cached_property
    def pool(self) -> Pool:
        """The repair split for approaches that buy labels one by one."""
        return Pool(self.repair_set)

    def copy(self) -> nn.Module:
        """A copy of the faulty model to work on, in eval mode; shares no tensor with it."""
        return copy.deepcopy(self.faulty)

    def fresh(self, seed: int) -> nn.Module | None:
        """The architecture newly initialised, in eval mode; None where it cannot be built again (an opaque module)."""
        if self.make_model is None:
            return None
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.make_model().to(self.device).eval()

    def stream(self, name: str) -> torch.Generator:
        """A fresh generator of this job's named stream; approaches with the same training share its name."""
        return stream(self.seed, name)

    def seed_of(self, name: str) -> int:
        """A seed for libraries that take a number, in [0, 2^31)."""
        return derived_seed(self.seed, name) % 2**31
