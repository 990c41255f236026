"""REASSURE: patch networks that correct the linear regions around failing inputs, and fade out elsewhere.

Paper: F. Fu, W. Li, "Sound and Complete Neural Network Repair with Minimality and Locality Guarantees", ICLR 2022,
arXiv 2110.07682. Level: layer. Needs: a dense head with a hidden ReLU or LeakyReLU, and failing repair inputs.

The head is affine on each linear region. For a failing input: find its region; find the smallest constant patch that
makes the whole region right; add the patch where the input lies in the region, with a support network that falls to 0
outside. No weight of the faulty model changes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from study.errors import NotApplicable, RepairFailed, UsageError
from study.models.patch_network import Combination, PatchNetwork
from study.models.piecewise_linear import PiecewiseLinear
from study.parts.network.dense_head import dense_head
from study.parts.network.feature_bounds import feature_bounds
from study.parts.network.linear_regions import Region, largest_excess
from study.parts.network.structure import Structure
from study.parts.network.traced_split import TracedSplit
from study.parts.selection.harmless_patches import harmless_patches
from study.parts.selection.repair_inputs import failing_sample
from study.problem.problem import Problem
from study.problem.recipe import Auto
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Log, Repair, Repaired
from study.runtime.settings import settings


@settings
class Reassure(Approach):
    """Adds a patch on the linear region of each failing input; hyperparameters: see conf/method/reassure.yaml."""

    level: ClassVar[Level] = "layer"
    source: ClassVar[str] = "Fu & Li, ICLR 2022, arXiv 2110.07682"

    points: Annotated[int, Field(ge=1)] | None = None
    max_points: Annotated[int, Field(ge=1)] = 2000
    area: bool = True
    eps: Annotated[float, Field(ge=0)] = 1e-3
    bounds: tuple[float, float] | Auto = "auto"
    gamma: Annotated[float, Field(gt=0)] = 2.0
    gamma_max: Annotated[float, Field(gt=0)] = 1e6
    locality: Literal["exact", "validation"] = "exact"
    combine: Combination = "telescoping"

    def __post_init__(self) -> None:
        if self.gamma > self.gamma_max:
            raise UsageError(f"method.gamma={self.gamma:g} must not exceed method.gamma_max={self.gamma_max:g}")

    def check(self, task: TaskSpec) -> None:
        """Without a hidden ReLU, the region of an input would be the whole feature space and a patch global."""
        if not dense_head(task.model, task.example(1)).has_hidden_relu:
            raise NotApplicable(f"needs a hidden ReLU between two dense layers: {task.name} has none")

    def repair(self, problem: Problem) -> Repair:
        structure = Structure(problem.copy())
        faulty = PatchNetwork(structure.model, structure.head.names, patches=0)
        points = failing_sample(problem, min(self.max_points, self.points or self.max_points))
        targets = TracedSplit(faulty, problem.repair_set.subset(points))
        features, head = targets.features.double().cpu(), faulty.head.double()

        # Steps 1 and 2: the linear region of each failing input, and the smallest patch that makes all of it right.
        patches, repairable = patched_regions(head, features, targets.labels.cpu(), self.eps)
        programs = 0
        if self.area:
            bounds = feature_bounds(structure, problem.train, features, self.bounds)
            for patch in patches:
                region = Region.of(head, patch.pattern, *bounds)
                patch.excess, solved = largest_excess(region, patch.label, self.eps)
                programs += solved
                yield {"patch/half_width": patch.excess.max() / 2, "patch/linear_programs": solved}

        # Steps 3 to 5: support and patch networks beside the model, and how sharply they fade.
        network = PatchNetwork(structure.model, structure.head.names, len(patches), self.combine).to(problem.device)
        network.patterns.copy_(torch.stack([patch.pattern for patch in patches]))
        network.shifts.copy_(torch.stack([patch.shift for patch in patches]))
        if self.locality == "exact":
            yield from self._sharpened(network, targets, repairable)
        else:
            validation = TracedSplit(faulty, problem.validation)
            kept = yield from harmless_patches(network, self._gammas(2**0.5), targets, validation)
            if kept is None:
                raise RepairFailed("no patch keeps validation accuracy", linear_programs=programs, patches=len(patches))
            network = kept
        costs = {"linear_programs": programs, "patches": len(network.patterns), "gamma": network.gamma.item()}
        return Repaired(network, costs={**costs, "conflicting_inputs": len(points) - repairable})

    def _sharpened(self, network: PatchNetwork, targets: TracedSplit, repairable: int) -> Generator[Log, None, None]:
        """Step 5: the first gamma that makes all repairable targets right; where none does, the best one tried."""
        best = (-1, self.gamma)
        for gamma in self._gammas(2):
            network.gamma.fill_(gamma)
            fixed = int(targets.right(network).sum())
            yield {"locality/gamma": gamma, "locality/fixed": fixed / len(targets.labels)}
            best = max(best, (fixed, gamma), key=lambda tried: tried[0])  # of equal ones the first
            if fixed >= repairable:
                break
        network.gamma.fill_(best[1])

    def _gammas(self, step: float) -> Iterator[float]:
        """From `gamma` up to `gamma_max`, each so many times the one before."""
        return takewhile(lambda gamma: gamma <= self.gamma_max, (self.gamma * step**i for i in count()))


@dataclass
class Patch:
    """What the region of the units' states `pattern` ([H] bool) needs to get the class `label`.

    excess: [C] float64, by how much each logit exceeds the label's, margin included, at least 0.
    """

    pattern: Tensor
    label: int
    excess: Tensor

    @property
    def shift(self) -> Tensor:
        """The patch [C] with the least maximum norm: half the largest excess for the label, the rest off the others."""
        half = self.excess.max() / 2
        shift = -(self.excess - half).relu()
        shift[self.label] = half
        return shift


def patched_regions(head: PiecewiseLinear, features: Tensor, labels: Tensor, eps: float) -> tuple[list[Patch], int]:
    """Step 1: the region of each point [N, d]; one patch per region, and how many points can be right.

    A later point of another class in a region that is already patched cannot be.
    """
    units, logits = head.run(features)
    excess = (logits - logits.gather(1, labels[:, None]) + eps).relu().scatter(1, labels[:, None], 0.0)
    patches: dict[bytes, Patch] = {}
    repairable = 0
    for pattern, label, needed in zip(units >= 0, labels.tolist(), excess, strict=True):
        patch = patches.setdefault(pattern.numpy().tobytes(), Patch(pattern, label, needed))
        if patch.label == label:
            patch.excess = torch.maximum(patch.excess, needed)
            repairable += 1
    return list(patches.values()), repairable
