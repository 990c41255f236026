"""One hidden layer of a network's head: what enters it, its neurons, and what reads them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from study.data.split import Split
from study.errors import NotApplicable
from study.parts.network.activations import activations
from study.parts.network.dense_head import dense_head
from study.parts.network.folding import FoldedLinear, folded_layers
from study.parts.network.structure import Head, Structure
from study.problem.prediction import BATCH


@dataclass(frozen=True)
class HiddenLayer:
    """The first hidden layer of a head, with a ReLU, and the chain behind it; shares its modules with the network.

    trunk: from the inputs to what enters the layer, one vector [B, d] per input; modules: of the layer, its Linear
    first (none: the neurons are what enters the chain); behind: the modules of the chain, a Linear first; names: of the
    first of `modules` (none without) and of the first of `behind`.
    """

    trunk: fx.GraphModule
    modules: list[nn.Module]
    behind: list[nn.Module]
    names: tuple[str, ...]

    @classmethod
    def of(cls, model: nn.Module, example: Tensor, features: bool = False) -> HiddenLayer:
        """The first hidden layer of `model` (in eval mode), or where there is none and `features` what enters its head.

        Raises NotApplicable where there is neither, where what follows has another activation than ReLU, and as
        `dense_head` does for the inputs `example` [B, ...].
        """
        dense_head(model, example)
        structure = Structure(model)
        groups = _groups(structure.head)
        number = next((n for n, group in enumerate(groups[:-1]) if _has(group, nn.ReLU, nn.LeakyReLU)), None)
        if number is None and not features:
            raise NotApplicable("needs a hidden Linear layer with a ReLU behind it in the head: there is none")
        chain = groups[0 if number is None else number :]
        if any(_has(group, nn.LeakyReLU) for group in chain) or _has(chain[-1], nn.ReLU):
            raise NotApplicable("needs a head of Linear layers with ReLU between them: it has another activation")
        runs_once = {layer.name for layer in structure.layers}
        if shared := [name for group in chain for name, part in group if _is_shared(part, name, runs_once)]:
            raise NotApplicable(f"needs layers that run once per input: {shared[0]} runs more than once")
        trunk = structure.prefix(structure.layer(chain[0][0][0]).node)
        names = tuple(group[0][0] for group in chain[: 1 if number is None else 2])
        own = [] if number is None else [module for _, module in chain.pop(0)]
        return cls(trunk, own, [module for group in chain for _, module in group], names)

    @property
    def linear(self) -> nn.Linear | None:
        """The Linear of the layer; None where it has none."""
        return _linear(self.modules[0]) if self.modules else None

    @property
    def reader(self) -> nn.Linear:
        """The Linear that reads the neurons."""
        return _linear(self.behind[0])

    @property
    def suffix(self) -> list[FoldedLinear]:
        """The chain behind the neurons as it is now."""
        return folded_layers(self.behind)

    def values(self, entering: Tensor) -> Tensor:
        """What the neurons send on [B, N], from what enters the layer [B, d]."""
        return _run(self.modules, entering)

    def logits(self, values: Tensor) -> Tensor:
        """Logits [B, C] from what the neurons send on [B, N]."""
        return _run(self.behind, values)


class SplitAtLayer:
    """Items of a split at a hidden layer: what enters it is computed once, what comes behind as the network is now.

    entering: [N, d]; labels: [N]; of the last `refresh`: values [N, neurons], logits [N, C], right ([N] bool) and its
    sum, `count`.
    """

    def __init__(self, layer: HiddenLayer, split: Split, indices: Tensor | None = None) -> None:
        self.layer = layer
        self.entering = activations(layer.trunk, split, indices)
        self.labels = split.labels if indices is None else split.labels[indices]
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> SplitAtLayer:
        """Run the layer and the chain behind it as they are now."""
        values = [self.layer.values(part) for part in self.entering.split(BATCH)]
        self.values, self.logits = torch.cat(values), torch.cat([self.layer.logits(part) for part in values])
        self.right = self.logits.argmax(1) == self.labels
        self.count = int(self.right.sum())
        return self


Group = list[tuple[str, nn.Module]]


def _groups(head: Head) -> list[Group]:
    """The named modules of a head, each Linear with what follows it before the next."""
    groups: list[Group] = []
    for name, module in zip(head.names, head.modules, strict=True):
        if isinstance(module, nn.Linear):
            groups.append([])
        groups[-1].append((name, module))
    return groups


def _linear(module: nn.Module) -> nn.Linear:
    assert isinstance(module, nn.Linear)
    return module


def _has(group: Group, *kinds: type[nn.Module]) -> bool:
    return any(isinstance(module, kinds) for _, module in group)


def _is_shared(module: nn.Module, name: str, runs_once: set[str]) -> bool:
    return isinstance(module, nn.Linear) and name not in runs_once


def _run(modules: list[nn.Module], values: Tensor) -> Tensor:
    for module in modules:
        values = module(values)
    return values
