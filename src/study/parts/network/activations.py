"""What a network computes at some layer on the items of a split: of a prefix of it, or of what enters a layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.parts.network.layers import last_linear
from study.problem.prediction import predict


def activations(prefix: nn.Module, split: Split, indices: Tensor | None = None) -> Tensor:
    """Output of `prefix` (eval mode, no gradient) on the items of `split` at `indices` (all: None), in that order."""
    return predict(prefix, split if indices is None else split.subset(indices))


def entering(model: nn.Module, name: str, split: Split, indices: Tensor | None = None) -> Tensor:
    """Input [N, ...] of the module `name` of `model` on the items of `split` at `indices` (all: None), in that order.

    The network runs in eval mode without gradient, and need not be traceable. Of a module that runs more than once per
    pass it is the input of the last run. Raises AttributeError where the network has no module of that name.
    """
    return activations(_Entering(model, name), split, indices)


def penultimate(model: nn.Module, split: Split) -> Tensor:
    """Input of the last Linear layer of `model` for each item of `split`, flattened to length 1: [N, d].

    Eval mode, no gradient; the network need not be traceable. Raises NotApplicable if it has no Linear layer.
    """
    name, _ = last_linear(model, split.fetch(torch.arange(min(2, len(split)))).inputs)
    return functional.normalize(entering(model, name, split).flatten(1), eps=1e-12)


class _Entering(nn.Module):
    """From the inputs of a network to what enters one of its modules."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.module = model, model.get_submodule(name)

    def forward(self, inputs: Tensor) -> Tensor:
        captured: list[Tensor] = []

        def capture(_: nn.Module, arguments: tuple[Tensor, ...], keywords: dict[str, Tensor]) -> None:
            first = [*arguments, *keywords.values()][0]
            captured.append(first.clone())  # the module, or one after it, may change it in place

        hook = self.module.register_forward_pre_hook(capture, with_kwargs=True)
        try:
            self.model(inputs)
        finally:
            hook.remove()
        return captured[-1]
