"""Neuron routing: which weights of a layer a network needs to give the answer that it gives (INNER, ISSTA 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from study.data.split import Split
from study.parts.network.activations import activations
from study.parts.network.blocks import Block, inlet, segment
from study.parts.network.structure import Structure

CHUNK = 2**24
"""Gates that are searched at the same time, at most."""
ROUNDING = 1e-6
"""Gates that are equal are not above their mean, which is off by an ulp or two."""


@dataclass(frozen=True)
class Routing:
    """The search of gates: `iterations` steps at rate `lr`, with a pull of `l1` towards 0."""

    iterations: int
    lr: float
    l1: float

    def votes_in(self, structure: Structure, block: Block, probe: nn.Module, split: Split) -> Tensor:
        """The votes of the inputs of `split` on the weight of a block, by the answers of the block's probe."""
        features = activations(segment(structure, inlet(structure), block.start), split)
        readout = nn.Sequential(segment(structure, block.start, block.end), probe)
        return self.votes(readout, f"0.{block.layer}.weight", features)

    def votes(self, readout: nn.Module, name: str, features: Tensor) -> Tensor:
        """How many of the inputs have a gate above the mean of their gates, for each weight: int64, as the weight.

        Args:
            readout: in eval mode, from features [B, ...] to logits [B, C].
            name: of the gated weight among its parameters.
            features: [N, ...].
        """
        weight = readout.get_parameter(name).detach()
        total = torch.zeros_like(weight, dtype=torch.int64)
        for part in features.split(max(1, CHUNK // weight.numel())):
            gates = self.gates(readout, name, part)
            mean = gates.flatten(1).mean(1).view(-1, *[1] * weight.dim())
            total += (gates > mean + ROUNDING).sum(0)
        return total

    def gates(self, readout: nn.Module, name: str, features: Tensor) -> Tensor:
        """The gates in [0, 1] of each input's own search, [B, *weight.shape], for features [B, ...], all at once.

        The gated weight keeps the present answer of each input. As in the authors' code a step follows the gradient at
        the gated weight, without the factor weight that the chain rule puts to it.
        """
        weight = readout.get_parameter(name).detach()

        def loss(gated: Tensor, item: Tensor, answer: Tensor) -> Tensor:
            logits = functional_call(readout, {name: gated}, (item[None],))
            return functional.cross_entropy(logits, answer[None])

        slopes = vmap(grad(loss))
        with torch.no_grad():
            answers = readout(features).argmax(1)
            gates = torch.ones(len(features), *weight.shape, device=weight.device, dtype=weight.dtype)
            for _ in range(self.iterations):
                slope = slopes(gates * weight, features, answers)
                gates = (gates - self.lr * slope - self.l1 * gates.sign()).clamp_(0, 1)
        return gates


def voted(votes: Tensor, top_ratio: float | None) -> Tensor:
    """Mask, shaped as `votes`, of the weights with a vote; with a ratio only of so large a share of all weights, those
    with the most votes (of equals the first, row by row), at least one."""
    mask = votes > 0
    if top_ratio is None:
        return mask
    first = votes.flatten().argsort(descending=True, stable=True)[: max(1, round(top_ratio * votes.numel()))]
    top = torch.zeros_like(mask.flatten())
    top[first] = True
    return mask & top.view_as(mask)


def random_mask(mask: Tensor, generator: torch.Generator) -> Tensor:
    """The control of a localisation: as many places, at random."""
    order = torch.randperm(mask.numel(), generator=generator)
    return mask.flatten()[order.to(mask.device)].view_as(mask)
