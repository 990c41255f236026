"""Relevance heatmaps of a classifier at many layers, by layer-wise relevance propagation in one backward pass.

The rules are HUDD's (Fahmy et al., IEEE Transactions on Reliability 70(4), 2021): the relevance of the output is the
logit of the predicted class; through the Linear layers of the head it follows the z-plus rule; through convolutions and
poolings R_in = X * J^T(R_out / (Y + 1e-9)), biases inside Y; through ReLU and dropout it stays. For networks of ReLUs
the convolutional part is gradient times activation, so one vector-Jacobian product gives it at all layers, and
BatchNorm, residual sums and concatenations need no rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.errors import NotApplicable
from study.parts.network.folding import FoldedLinear, folded_layers
from study.parts.network.structure import Structure

EPS = 1e-9
BATCH = 250


@dataclass(frozen=True)
class Maps:
    """Heatmaps of B inputs.

    layers: one tensor [B, ...] per layer, shaped like its activation; pixels: like the inputs, None for inputs without
    a gradient (tokens); alive: [B] bool, False where no relevance reaches the features (all heatmaps are 0).
    """

    layers: list[Tensor]
    pixels: Tensor | None
    alive: Tensor


class Relevance:
    """Heatmaps of `model` (in eval mode, not changed) at the ends of its stages and at its hidden Linear layers.

    Args:
        last: of these layers the last ones alone; None: all.

    Raises NotApplicable where the network has no head (see `Structure.head`) or none of these layers.
    """

    def __init__(self, model: nn.Module, last: int | None = None) -> None:
        structure = Structure(model)
        head = structure.head
        self._dense = folded_layers(head.modules)
        names = [name for name, module in zip(head.names, head.modules, strict=True) if isinstance(module, nn.Linear)]
        hidden = names[:-1]
        ends = structure.stage_ends(head.node)
        kept = len(ends) + len(hidden) if last is None else last
        if not ends and not hidden:
            raise NotApplicable("the network has no hidden layer before its last Linear layer")
        self._hidden = min(kept, len(hidden))
        ends = ends[len(ends) - min(kept - self._hidden, len(ends)) :]
        self.names: list[str] = [str(end.target) if end.op == "call_module" else end.name for end in ends]
        self.names += hidden[len(hidden) - self._hidden :]
        self._body = structure.trace(head.node, ends)

    def __call__(self, inputs: Tensor) -> Maps:
        """The heatmaps of `inputs` [B, ...], in the order of `names`."""
        with torch.enable_grad():
            inputs = inputs.detach().requires_grad_(inputs.is_floating_point())
            *activations, features = self._body(inputs)
        if features.dim() != 2:
            raise NotApplicable(f"its head works on {tuple(features.shape[1:])} values, not on one vector per input")
        hidden, cotangent = self._through_head(features.detach())
        sources = [*activations, *([inputs] if inputs.requires_grad else [])]
        gradients = torch.autograd.grad(features, sources, cotangent) if sources else ()
        maps = [source.detach() * gradient for source, gradient in zip(sources, gradients, strict=True)]
        pixels = maps.pop() if inputs.requires_grad else None
        return Maps(maps + hidden[len(hidden) - self._hidden :], pixels, (features * cotangent != 0).any(1))

    def _through_head(self, features: Tensor) -> tuple[list[Tensor], Tensor]:
        """Relevance at the input of each head Linear but the first, and R_h / h, h being the head's input [B, F]."""
        entering, values = list[Tensor](), features
        for layer in self._dense:
            entering.append(values)
            values = layer(values)
        answer = values.argmax(1, keepdim=True)
        relevance = torch.zeros_like(values).scatter(1, answer, values.gather(1, answer))
        maps = list[Tensor]()
        for layer, inputs in zip(reversed(self._dense), reversed(entering), strict=True):
            share = _share(layer, relevance, inputs)
            relevance = inputs * share
            maps.insert(0, relevance)
        return maps[1:], share


def _share(layer: FoldedLinear, relevance: Tensor, inputs: Tensor) -> Tensor:
    """Relevance per unit of input, [B, in], of the relevance [B, out] of a layer's output.

    z-plus, V = max(W, 0), (R / (X V^T)) V where X > 0; inputs with negative entries by gradient times activation.
    """
    positive = layer.weight.clamp(min=0)
    plus = (relevance / (inputs @ positive.T + EPS)) @ positive
    signed = (relevance / (functional.linear(inputs, layer.weight, layer.bias) + EPS)) @ layer.weight
    return torch.where((inputs >= 0).all(1, keepdim=True), plus.where(inputs > 0, 0), signed)


def heatmaps(
    relevance: Relevance, split: Split, indices: Tensor, layer: int | None = None, pool: int | None = None
) -> tuple[list[Tensor], Tensor]:
    """Flattened heatmaps of the items of `split` at `indices` ([M], not empty), and which of them are alive, [M] bool.

    Args:
        layer: position in `relevance.names` of the one to return; None: all.
        pool: spatial heatmaps larger than this are averaged down to `pool` x `pool`; None: kept whole.

    Returns:
        One tensor [M, P] per layer.
    """
    parts, alive = list[list[Tensor]](), list[Tensor]()
    for batch in split.batches(BATCH, within=indices):
        maps = relevance(batch.inputs)
        returned = maps.layers if layer is None else [maps.layers[layer]]
        parts.append([_pooled(each, pool).flatten(1) for each in returned])
        alive.append(maps.alive)
    return [torch.cat(each) for each in zip(*parts, strict=True)], torch.cat(alive)


def _pooled(maps: Tensor, pool: int | None) -> Tensor:
    if pool is None or maps.dim() != 4 or max(maps.shape[2:]) <= pool:
        return maps
    return functional.adaptive_avg_pool2d(maps, pool)


def coloured(maps: Tensor) -> Tensor:
    """Heatmaps [M, C, H, W], summed over channels, as images [M, 3, H, W] in [0, 1].

    Red speaks for the answer, blue against it, white for neither; each image in shades of its own largest relevance.
    """
    sums = maps.sum(1)
    strength = sums / sums.abs().amax((1, 2), keepdim=True).clamp(min=torch.finfo(sums.dtype).tiny)
    red, blue = strength.clamp(min=0), (-strength).clamp(min=0)
    return torch.stack([1 - blue, 1 - red - blue, 1 - red], dim=1)
