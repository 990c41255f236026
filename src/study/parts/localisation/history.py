"""Fault localisation by training history: which weights matter for what training has unlearnt, and not for what it has
learnt.

After NeuRecover (Tokui et al., SANER 2022), read off jst-qaml/eAI-Repair-Toolkit, whose mistakes are not repeated: the
backward ranking takes the gradient of the cross-entropy (the toolkit: of the summed outputs, a constant of a softmax),
and layers are addressed by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from study.data.split import Split
from study.parts.localisation.products import layer_products
from study.parts.localisation.weights import Localiser
from study.problem.prediction import right
from study.problem.problem import Problem


class Turned(NamedTuple):
    """Repair inputs whose outcome an epoch has turned: indices [M] int64, each, into the repair set.

    degraded: failing ones that the earlier model gets right; improved: passing ones that it gets wrong.
    """

    degraded: Tensor
    improved: Tensor


def turned(problem: Problem, earlier: nn.Module) -> Turned:
    """What the step from the model `earlier` to the faulty one has turned."""
    was_right = right(earlier, problem.repair_set)
    return Turned(problem.failing[was_right[problem.failing]], problem.passing[~was_right[problem.passing]])


class Impact(NamedTuple):
    """How much each weight of some layers matters on some inputs: per layer a tensor shaped as its weight.

    forward: mean |input * weight|; backward: |sum over the inputs of the gradient of the cross-entropy|.
    """

    forward: list[Tensor]
    backward: list[Tensor]

    @classmethod
    def on(cls, localiser: Localiser, split: Split, indices: Tensor) -> Impact:
        """Of the Linear layers that `localiser` measures, on the items of `split` at `indices` [M]; none: all zero."""
        if not len(indices):
            nothing = [torch.zeros_like(layer.weight) for layer in localiser.layers]
            return cls(nothing, nothing)
        forward = layer_products(localiser.model, localiser.names, split, indices)
        return cls(list(forward.values()), list(localiser.gradients(split, indices).loss.values()))

    def shares(self) -> Tensor:
        """Each layer's mean forward impact as a share of the sum of these means, [L] float64; all zero: zeros."""
        means = torch.stack([impact.double().mean() for impact in self.forward])
        return torch.where(means.sum() > 0, means / means.sum(), 0.0)


class Change(NamedTuple):
    """By how much the weights of some layers moved.

    moved: per layer |later - earlier|, shaped as its weight; share: [L] float64, each layer's mean of that as a share
    of the sum of such means over all arrays of the model, biases and statistics of BatchNorm included.
    """

    moved: list[Tensor]
    share: Tensor

    @classmethod
    def between(cls, later: nn.Module, earlier: nn.Module, names: Sequence[str]) -> Change:
        """From one model to the other of the same structure, for the layers `names`."""
        old, new = earlier.state_dict(), later.state_dict()
        moved = {name: (new[name] - old[name]).abs() for name in new if new[name].is_floating_point()}
        means = {name: tensor.double().mean() for name, tensor in moved.items()}
        total, weights = torch.stack(list(means.values())).sum(), [f"{name}.weight" for name in names]
        share = torch.stack([means[name] for name in weights])
        return cls([moved[name] for name in weights], torch.where(total > 0, share / total, 0.0))

    @classmethod
    def unknown(cls, model: nn.Module, names: Sequence[str]) -> Change:
        """Without an earlier model: every weight counts as moved, and each array alike."""
        arrays = sum(tensor.is_floating_point() for tensor in model.state_dict().values())
        weights = [model.get_parameter(f"{name}.weight").detach() for name in names]
        share = torch.full((len(names),), 1 / arrays, dtype=torch.float64, device=weights[0].device)
        return cls([torch.full_like(weight, torch.inf) for weight in weights], share)


@dataclass(frozen=True)
class Suspicion:
    """What speaks for and against each weight of some layers."""

    degraded: Impact
    improved: Impact
    change: Change

    def budgets(self, rate: float) -> list[int]:
        """How many weights of each layer head its rankings: its size, times its suspicion, times `rate`.

        The suspicion of a layer is a / (a + b) * c, with a and b its shares in the forward impact on the degraded and
        on the improved inputs, and c its share in the change.
        """
        harm, good = self.degraded.shares(), self.improved.shares()
        suspicion = torch.where(harm > 0, harm / (harm + good) * self.change.share, 0.0)
        sizes = [tensor.numel() for tensor in self.change.moved]
        wanted = suspicion.new_tensor(sizes).mul(suspicion).mul(rate).nan_to_num(0.0).round()
        return [min(int(count), size) for count, size in zip(wanted.tolist(), sizes, strict=True)]

    def suspects(self, rate: float) -> Tensor:
        """Places [D] int64 of the suspects in the weights of all layers put one after the other, ascending.

        In each layer: what heads the forward, the backward and the change ranking of the degraded inputs, but not both
        rankings of the improved ones.
        """
        masks = []
        for number, budget in enumerate(self.budgets(rate)):
            moved = self.change.moved[number].flatten()
            harmful, useful = (
                _top(impact.forward[number], budget) & _top(impact.backward[number], budget)
                for impact in (self.degraded, self.improved)
            )
            masks.append(harmful & (_top(moved, budget) | moved.isinf()) & ~useful)
        return torch.cat(masks).nonzero().flatten()


def _top(values: Tensor, count: int) -> Tensor:
    """Which of the entries, row by row, are among the `count` largest, [n] bool; of equals the first, never a zero."""
    flat = values.flatten()
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    chosen[flat.argsort(descending=True, stable=True)[:count]] = True
    return chosen & (flat > 0)
