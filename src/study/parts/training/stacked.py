"""Training several networks of one architecture at the same time, each on batches of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from study.parts.training.schedule import has_batch_norm


class OneByOne:
    """One network's step after the other's; Adam on cross-entropy."""

    def __init__(self, models: list[nn.Module], lr: float) -> None:
        self._models = models
        self._optimizers = [torch.optim.Adam(model.parameters(), lr, fused=True) for model in models]

    def step(self, inputs: Tensor, labels: Tensor) -> None:
        """One step of each network on its own batch: inputs [n, B, ...], labels [n, B]."""
        for model, optimizer, batch, targets in zip(self._models, self._optimizers, inputs, labels, strict=True):
            optimizer.zero_grad()
            functional.cross_entropy(model(batch), targets).backward()
            optimizer.step()

    def models(self) -> list[nn.Module]:
        """The networks as trained so far."""
        return self._models


class Stacked:
    """All networks as one whose parameters have a dimension more; Adam works by element, so nothing else differs."""

    def __init__(self, models: list[nn.Module], lr: float) -> None:
        self._models = models
        self._parameters, _ = stack_module_state(models)
        self._optimizer = torch.optim.Adam(self._parameters.values(), lr, fused=True)

    def step(self, inputs: Tensor, labels: Tensor) -> None:
        """One step of each network on its own batch: inputs [n, B, ...], labels [n, B]."""
        self._optimizer.zero_grad()
        losses_of(self._models[0], self._parameters, inputs, labels).sum().backward()
        self._optimizer.step()

    def models(self) -> list[nn.Module]:
        """The networks as trained so far."""
        with torch.no_grad():
            for number, model in enumerate(self._models):
                for name, parameter in model.named_parameters():
                    parameter.copy_(self._parameters[name][number])
        return self._models


def losses_of(model: nn.Module, parameters: dict[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy [n] of n networks, each on its own batch.

    Args:
        model: the architecture; its own weights are not used.
        parameters: of all networks, by name, [n, ...] each.
        inputs: [n, B, ...].
        labels: [n, B].
    """

    def loss(own: dict[str, Tensor], batch: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(model, own, (batch,)), targets)

    losses: Tensor = vmap(loss, randomness="different")(parameters, inputs, labels)
    return losses


def pays_off(model: nn.Module, example: Tensor) -> bool:
    """Whether training several such networks as one is possible, and faster.

    Possible: no statistics over the batch, and no branch that depends on values. Faster (measured): not convolutions on
    a CPU.

    Args:
        example: two inputs.
    """
    on_cpu = example.device.type == "cpu"
    if has_batch_norm(model) or (on_cpu and any(isinstance(module, _ConvNd) for module in model.modules())):
        return False
    stacked = {name: parameter.detach()[None] for name, parameter in model.named_parameters()}
    try:
        losses_of(model, stacked, example[None], torch.zeros(1, len(example), dtype=torch.long, device=example.device))
    except RuntimeError:  # what vmap raises, in its many kinds
        return False
    return True
