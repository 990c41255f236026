"""What an approach may see of a subject: before the faulty model is trained, and after. Never the test split."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from study.data.split import Split
from study.problem.recipe import Recipe
from study.runtime.randomness import derived_seed, stream

Kind = Literal["image", "table", "tokens"]


@dataclass(frozen=True)
class TaskSpec:
    """What is known of a subject before its faulty model is trained; `Approach.check` looks at this alone.

    model: the architecture with untrained weights, in eval mode; input_shape: without the batch dimension;
    has_groups: items carry a sensitive group; has_history: the faulty model is trained here, for more than one epoch,
    so that an earlier one can exist (`Problem.history` is None all the same where the first epoch is the best);
    can_be_fresh: the architecture can be initialised anew; box: range of an input's values, None without one.
    """

    model: nn.Module
    kind: Kind
    num_classes: int
    input_shape: tuple[int, ...]
    has_groups: bool = False
    has_history: bool = True
    can_be_fresh: bool = True
    box: tuple[float, float] | None = (0.0, 1.0)
    epsilon: float | None = None


class Pool:
    """The repair split with its labels hidden: each one that is looked at counts as bought."""

    def __init__(self, repair: Split) -> None:
        self._repair = repair
        self._revealed = torch.zeros(len(repair), dtype=torch.bool)

    def __len__(self) -> int:
        return len(self._repair)

    def inputs(self) -> Tensor:
        """All inputs of the pool, [N, ...]."""
        return self._repair.tensors().inputs

    def reveal(self, indices: Tensor) -> Tensor:
        """Labels [M] of the items at `indices` [M]; they count as bought from now on."""
        self._revealed[indices.cpu()] = True
        return self._repair.labels[indices.to(self._repair.device)]

    @property
    def revealed(self) -> Tensor:
        """Indices of the items whose label has been bought."""
        return self._revealed.nonzero().flatten()


@dataclass(frozen=True)
class Problem:
    """A faulty model and the data to repair it with.

    faulty: in eval mode, not to be changed (work on `copy()`); history: the model one epoch earlier, or None;
    failing, passing: indices into the repair split ([F], [P] int64, ascending) of the inputs that `faulty` gets wrong
    and right; recipe: how `faulty` was trained; box: range of an input's values; epsilon: the attack's radius in the
    evaluation of this subject (approaches may train against a smaller one); fresh: see `Problem.fresh`.
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
    build: Callable[[], nn.Module] | None = field(default=None, repr=False)

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
        if self.build is None:
            return None
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.build().to(self.device).eval()

    def stream(self, name: str) -> torch.Generator:
        """A fresh generator of this job's named stream; approaches with the same training share its name."""
        return stream(self.seed, name)

    def seed_of(self, name: str) -> int:
        """A seed for libraries that take a number, in [0, 2^31)."""
        return derived_seed(self.seed, name) % 2**31
