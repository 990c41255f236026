"""Influence of every parameter on the errors of some inputs and on the outputs for others, and which it sets free.

After I-REPAIR (P. Henriksen, F. Leofante, A. Lomuscio, ACM SAC 2022) and its authors' code. A parameter is free to move
where its influence on the errors outweighs gamma times that on normal behaviour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.parts.network.places import Layers, layer_of

EPS = 1e-8
KINDS = (nn.Linear, nn.Conv2d, nn.BatchNorm2d)


def influenced_parameters(model: nn.Module) -> list[str]:
    """Names of all weights and biases of Linear, Conv2d and BatchNorm2d layers, in the order of `named_parameters`."""
    owners = {name: module for name, module in model.named_modules() if isinstance(module, KINDS)}
    return [name for name, _ in model.named_parameters() if layer_of(name) in owners]


@dataclass(frozen=True)
class Influences:
    """Gradients with respect to D parameters in one flat vector [D] each, and how the network does on both sets.

    specific: of the mean cross-entropy of the specific inputs still wrong (0 if there are none); general: of the mean
    over the general inputs of the summed absolute logits; joint: of the mean cross-entropy of both sets, which is
    `loss`; remaining: [number of specific inputs] bool, those still wrong; general_right: number of general ones right.
    """

    specific: Tensor
    general: Tensor
    joint: Tensor
    loss: Tensor
    remaining: Tensor
    general_right: Tensor

    def counts(self) -> tuple[int, int, bool]:
        """Specific inputs still wrong, general ones right, whether the loss is finite: one transfer from the device."""
        wrong, right, finite = torch.stack(
            [self.remaining.sum(), self.general_right, self.loss.isfinite().long()]
        ).tolist()
        return wrong, right, bool(finite)


class InfluenceEstimator:
    """Measures the influences of the parameters `names` of a network in eval mode, as it is at each call.

    Every input runs forward once per call and backward twice; all terms are sums over inputs, so micro-batches add up
    to the full batch.

    Args:
        model: its parameters `names` need gradients.
        split: general, specific: [G], [S] int64, items of it.
        micro_batch: inputs per pass.
        margin: a specific input is still wrong while its label's probability is not this far above the next one; 0: a
            tie counts as right.
    """

    def __init__(
        self,
        model: nn.Module,
        names: Sequence[str],
        split: Split,
        general: Tensor,
        specific: Tensor,
        *,
        micro_batch: int = 1000,
        margin: float = 0.0,
    ) -> None:
        self.model, self.margin = model, margin
        self.parameters = [model.get_parameter(name).requires_grad_(True) for name in names]
        self.general_batches = split.batches(micro_batch, within=general)
        self.specific_batches = split.batches(micro_batch, within=specific)
        self.general_count, self.inputs = len(general), len(general) + len(specific)

    def __call__(self) -> Influences:
        """The influences at the present values of the parameters."""
        with torch.enable_grad():
            size, general, loss, right = self._general()
            wrong, solved, specific_loss, remaining = self._specific()
        return Influences(
            specific=wrong / remaining.sum().clamp(min=1),
            general=size / self.general_count,
            joint=(general + wrong + solved) / self.inputs,
            loss=(loss + specific_loss) / self.inputs,
            remaining=remaining,
            general_right=right,
        )

    def still_wrong(self) -> int:
        """Number of specific inputs that are still wrong at the present values."""
        with torch.no_grad():
            wrong = [(lead(self.model(b.inputs), b.labels) < self.margin).sum() for b in self.specific_batches]
        return int(torch.stack(wrong).sum())

    def _general(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gradients of the summed absolute logits and of the summed cross-entropy; that sum; the number right."""
        parts = []
        for batch in self.general_batches:
            logits = self.model(batch.inputs)
            loss = functional.cross_entropy(logits, batch.labels, reduction="sum")
            gradients = self._gradient(logits.abs().sum(), again=True), self._gradient(loss)
            parts.append((*gradients, loss.detach(), (logits.argmax(1) == batch.labels).sum()))
        size, general, total, right = (sum(part[1:], part[0]) for part in zip(*parts, strict=True))
        return size, general, total, right

    def _specific(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gradients of the cross-entropy summed over the inputs still wrong and the others, its sum, who is wrong."""
        parts, remaining = [], []
        for batch in self.specific_batches:
            logits = self.model(batch.inputs)
            losses = functional.cross_entropy(logits, batch.labels, reduction="none")
            wrong = lead(logits.detach(), batch.labels) < self.margin
            gradients = (
                self._gradient(losses @ wrong.to(losses), again=True),
                self._gradient(losses @ (~wrong).to(losses)),
            )
            parts.append((*gradients, losses.detach().sum()))
            remaining.append(wrong)
        unsolved, solved, total = (sum(part[1:], part[0]) for part in zip(*parts, strict=True))
        return unsolved, solved, total, torch.cat(remaining)

    def _gradient(self, value: Tensor, again: bool = False) -> Tensor:
        gradients = torch.autograd.grad(
            value, self.parameters, retain_graph=again, allow_unused=True, materialize_grads=True
        )
        return torch.cat([gradient.reshape(-1) for gradient in gradients])


def lead(logits: Tensor, labels: Tensor) -> Tensor:
    """Probability of the label minus the largest other one, [N] float64, from logits [N, C]."""
    probabilities = logits.double().softmax(1)
    others = probabilities.scatter(1, labels[:, None], -torch.inf).amax(1)
    return probabilities.gather(1, labels[:, None])[:, 0] - others


def free_edges(influences: Influences, gamma: float) -> Tensor:
    """Parameters ([D] bool) with (|specific| + 1e-8) / (gamma |general| + 1e-8) >= 1: single weights and biases."""
    return influences.specific.abs() + EPS >= gamma * influences.general.abs() + EPS


def free_nodes(model: nn.Module, places: Layers, influences: Influences, gamma: float) -> Tensor:
    """All weights ([D] bool) that leave a free input node of a Linear layer; biases and other layers stay as they are.

    The influence of a node is the signed sum of its column in the weight's gradient, and its ratio must exceed 1.
    """
    sizes = [shape.numel() for shape in places.shapes]
    pieces = zip(places.names, influences.specific.split(sizes), influences.general.split(sizes), strict=True)
    masks = []
    for (name, specific, general), shape in zip(pieces, places.shapes, strict=True):
        if isinstance(model.get_submodule(layer_of(name)), nn.Linear) and name.endswith(".weight"):
            summed = [gradient.reshape(shape).sum(0).abs() for gradient in (specific, general)]
            masks.append((summed[0] + EPS > gamma * summed[1] + EPS).expand(shape).reshape(-1))
        else:
            masks.append(torch.zeros_like(specific, dtype=torch.bool))
    return torch.cat(masks)
