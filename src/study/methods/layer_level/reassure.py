"""REASSURE: patch networks that correct the linear regions around failing inputs, and fade out elsewhere.

Paper: F. Fu, W. Li, "Sound and Complete Neural Network Repair with Minimality and Locality Guarantees", ICLR 2022,
arXiv 2110.07682. Level: layer. Needs: a dense head with a hidden ReLU or LeakyReLU, and failing repair inputs.

The head is affine on each linear region. For a failing input: find its region; find the smallest constant patch that
makes the whole region right; add the patch where the input lies in the region, with a support network that falls to 0
outside. No weight of the faulty model changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, validate_call
from torch import Tensor, fx, nn
from torch.nn import functional

from study.data.split import Split
from study.errors import NotApplicable, UsageError
from study.models.patch_network import Combination, PatchNetwork
from study.parts.network.linear_regions import Maximiser, PiecewiseLinear, Region
from study.parts.network.structure import Structure
from study.problem.prediction import BATCH
from study.problem.problem import Problem, TaskSpec
from study.repair.approach import Level, Log, Patching, Rounds, Seconds

STEP = {"exact": 2.0, "validation": 2.0**0.25}
"""Ratio of one gamma that is tried to the one before."""


@dataclass
class Patch:
    """What one region needs.

    pattern: [H] bool; label: the class that it is to get; excess: [C] float64, by how much each logit exceeds the
    label's, margin included, at least 0.
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


class Reassure(Patching):
    """REASSURE (Fu & Li, 2022).

    points: failing repair inputs to patch, drawn at random (None: all), at most max_points; area: make the whole region
    right (the paper) or only the input; eps: margin of the logits; box: bounds of the head's input, "auto": those of
    the train split; combine: see `PatchNetwork`. gamma: sharpness of the supports, raised up to gamma_max until, with
    locality "exact" (the paper), all patched inputs are right, or, with "validation", the negative flip rate on the
    validation split is at most max_flips.
    """

    level: ClassVar[Level] = "layer"
    source: ClassVar[str] = "Fu & Li, ICLR 2022, arXiv 2110.07682"

    @validate_call
    def __init__(
        self,
        *,
        points: Annotated[int, Field(ge=1)] | None = None,
        max_points: Annotated[int, Field(ge=1)] = 2000,
        area: bool = True,
        eps: Annotated[float, Field(ge=0)] = 1e-3,
        box: tuple[float, float] | Literal["auto"] = "auto",
        gamma: Annotated[float, Field(gt=0)] = 2.0,
        gamma_max: Annotated[float, Field(gt=0)] = 1e6,
        locality: Literal["exact", "validation"] = "exact",
        max_flips: Annotated[float, Field(ge=0, le=1)] = 0.002,
        combine: Combination = "telescoping",
        max_seconds: Seconds = None,
    ) -> None:
        super().__init__(max_seconds=max_seconds)
        if gamma > gamma_max:
            raise UsageError(f"method.gamma={gamma:g} must not exceed method.gamma_max={gamma_max:g}")
        self.points, self.max_points = points, max_points
        self.area, self.eps, self.box = area, eps, box
        self.gamma, self.gamma_max = gamma, gamma_max
        self.locality, self.max_flips = locality, max_flips
        self.combine = combine
        self._used: dict[str, float] = {"linear_programs": 0}

    def check(self, task: TaskSpec) -> None:
        """Raise NotApplicable unless the network ends in a dense head with a hidden ReLU: without one, the region of an
        input is the whole feature space and a patch would be global."""
        network = PatchNetwork(task.model, 0)
        if not network.head.has_hidden_relu:
            name = type(getattr(task.model, "net", task.model)).__name__
            raise NotApplicable(f"needs a hidden ReLU between two dense layers: {name} has none")
        if any(isinstance(module, nn.BatchNorm1d) and module.running_mean is None for module in network.head.modules):
            raise NotApplicable("BatchNorm in the dense head keeps no running statistics, so the head is not affine")
        dtype = torch.long if task.kind == "tokens" else torch.get_default_dtype()
        with torch.inference_mode():
            example = torch.zeros(1, *task.input_shape, dtype=dtype, device=next(network.parameters()).device)
            features = network.trace(example)[1]
        if features.dim() != 2:
            raise NotApplicable("the dense head does not work on one feature vector per input")

    def rounds(self, problem: Problem) -> Rounds:
        targets = problem.repair_set.subset(self._drawn(problem))
        faulty = PatchNetwork(problem.copy(), 0)
        features = _traced(faulty, targets)[1].double().cpu()
        lower, upper = self._box(problem, faulty, features)
        head = faulty.head.double()

        # Steps 1 and 2: the linear region of each failing input, and the smallest patch that makes all of it right.
        patches, repairable = self._patches(head, features, targets.labels.cpu())
        for patch in patches if self.area else []:
            region = Region.of(head, patch.pattern, lower, upper)
            patch.excess, solved = largest_excess(region, patch.label, self.eps)
            self._used["linear_programs"] += solved
            yield {"patch/half_width": patch.excess.max() / 2, "patch/linear_programs": solved}

        # Steps 3 to 5: support and patch networks beside the model, and how sharply they fade.
        network = PatchNetwork(faulty.model, len(patches), self.combine).to(problem.device)
        network.patterns.copy_(torch.stack([patch.pattern for patch in patches]))
        network.shifts.copy_(torch.stack([patch.shift for patch in patches]))
        self._used |= {"patches": len(patches), "conflicting_inputs": len(targets) - int(repairable.sum())}
        yield from self._localise(problem, network, targets, int(repairable.sum()))
        return network

    def costs(self) -> Log:
        return self._used

    def _drawn(self, problem: Problem) -> Tensor:
        """The failing repair inputs to patch, in the order of the repair split."""
        count = min(self.max_points, self.points or len(problem.failing), len(problem.failing))
        drawn = torch.randperm(len(problem.failing), generator=problem.stream("points"))[:count]
        return problem.failing[drawn.sort().values.to(problem.failing.device)]

    def _box(self, problem: Problem, network: PatchNetwork, points: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper bound [d] of the head's input, widened to hold the points; 0 below features of a ReLU."""
        lower, upper = points.amin(0), points.amax(0)
        if self.box != "auto":
            return lower.clamp(max=self.box[0]), upper.clamp(min=self.box[1])
        if not self.area:
            return lower, upper
        with torch.inference_mode():
            for batch in problem.train.batches(BATCH):
                features = network.trace(batch.inputs)[1].double()
                lower = torch.minimum(lower, features.amin(0).cpu())
                upper = torch.maximum(upper, features.amax(0).cpu())
        return lower.clamp(max=0) if _follow_relu(network.model) else lower, upper

    def _patches(self, head: PiecewiseLinear, features: Tensor, labels: Tensor) -> tuple[list[Patch], Tensor]:
        """Step 1: the region of each point; one patch per region, and which points ([N] bool) can be right.

        A later point of another class in a region that is already patched cannot be.
        """
        units, logits = head.run(features)
        excess = (logits - logits.gather(1, labels[:, None]) + self.eps).relu().scatter(1, labels[:, None], 0.0)
        patches: dict[bytes, Patch] = {}
        repairable = torch.ones(len(labels), dtype=torch.bool)
        for i, (pattern, label) in enumerate(zip(units >= 0, labels.tolist(), strict=True)):
            patch = patches.setdefault(pattern.numpy().tobytes(), Patch(pattern, label, excess[i]))
            repairable[i] = patch.label == label
            if patch.label == label:
                patch.excess = torch.maximum(patch.excess, excess[i])
        return list(patches.values()), repairable

    def _localise(self, problem: Problem, network: PatchNetwork, targets: Split, repairable: int) -> Iterator[Log]:
        """Step 5: set gamma by the rule of `locality`; where no gamma satisfies it, the best one tried."""
        exact = self.locality == "exact"
        judged = targets if exact else problem.validation
        traces = {split: _traced(network, split) for split in {targets, judged}}
        best = (-float("inf"), self.gamma)
        for gamma in self._gammas():
            network.gamma.fill_(gamma)
            fixed = int(_right(network, targets, traces[targets]).sum())
            values = {"locality/gamma": gamma, "locality/fixed": fixed / len(targets)}
            score, enough = float(fixed), float(repairable)
            if not exact:
                kept = _right(network, judged, traces[judged])
                was_right = traces[judged][0].argmax(1) == judged.labels
                flips = (was_right & ~kept).double().mean().item()
                values["locality/negative_flip_rate"] = flips
                score, enough = -flips, -self.max_flips
            yield values
            if score > best[0]:
                best = (score, gamma)
            if score >= enough:
                break
        network.gamma.fill_(best[1])
        self._used["gamma"] = best[1]

    def _gammas(self) -> Iterator[float]:
        """Sharper and sharper supports to try."""
        gamma = self.gamma
        while gamma <= self.gamma_max:
            yield gamma
            gamma *= STEP[self.locality]


def largest_excess(region: Region, label: int, eps: float) -> tuple[Tensor, int]:
    """Step 2: by how much each logit exceeds the label's somewhere in the region, plus `eps` and at least 0 ([C]).

    One linear program per class; a class whose bound over the box shows that it stays within half the largest excess
    gets 0, since then neither its shift nor any other depends on it. Also returns the number of programs solved.
    """
    excess = torch.zeros(len(region.logit_offsets), dtype=torch.float64)
    margins = {k: region.margin(k, label) for k in range(len(excess)) if k != label}
    bounds = {k: region.box_bound(row) + offset + eps for k, (row, offset) in margins.items()}
    solver = Maximiser(region)
    for k in sorted(margins, key=lambda k: -bounds[k]):
        row, offset = margins[k]
        if bounds[k] > excess.max() / 2:
            excess[k] = max(solver.maximum(row) + offset + eps, 0.0)
    return excess, solver.solved


def _traced(network: PatchNetwork, split: Split) -> tuple[Tensor, Tensor]:
    """Logits of the unpatched model [N, C] and the input of its head [N, d] on a split."""
    with torch.inference_mode():
        logits, features = zip(*(network.trace(batch.inputs) for batch in split.batches(BATCH)), strict=True)
        return torch.cat(logits), torch.cat(features)


def _right(network: PatchNetwork, split: Split, trace: tuple[Tensor, Tensor]) -> Tensor:
    """Which items of a split, traced before, the patched model gets right ([N] bool)."""
    with torch.inference_mode():
        parts = [network.patched(*part) for part in zip(*(tensor.split(BATCH) for tensor in trace), strict=True)]
        return torch.cat(parts).argmax(1) == split.labels


def _follow_relu(model: nn.Module) -> bool:
    """Whether nothing but pooling and reshaping lies between a ReLU and the head of `model`: then no feature is < 0."""
    structure = Structure(model)
    keeping = (
        nn.MaxPool2d,
        nn.AvgPool2d,
        nn.AdaptiveAvgPool2d,
        nn.AdaptiveMaxPool2d,
        nn.Flatten,
        nn.Dropout,
        nn.Identity,
    )
    node = structure.head.node.args[0]
    while isinstance(node, fx.Node):
        module = structure.modules[str(node.target)] if node.op == "call_module" else None
        if isinstance(module, nn.ReLU) or node.target in (torch.relu, functional.relu, "relu"):
            return True
        if not (isinstance(module, keeping) or node.target in (torch.flatten, "flatten", "view", "reshape")):
            return False
        node = node.args[0]
    return False
