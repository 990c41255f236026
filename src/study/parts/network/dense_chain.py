"""Linear layers of a network as matrices for solvers, float64 on the CPU, and their changes written back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.data.split import Split
from study.parts.network.dense_data import DenseData

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class DenseLayer:
    """weight: [out, in], or with the bias as its last column [out, in + 1] where the layer has one."""

    weight: Matrix
    biased: bool

    @classmethod
    def of(cls, module: nn.Linear) -> DenseLayer:
        """A copy of the weights of a Linear layer."""
        weight = module.weight.detach().double().cpu()
        if module.bias is not None:
            weight = torch.cat([weight, module.bias.detach().double().cpu()[:, None]], 1)
        return cls(weight.numpy().copy(), module.bias is not None)

    def entering(self, values: Matrix) -> Matrix:
        """What the weight is multiplied with: values [m, in], with ones as a last column where there is a bias."""
        return np.column_stack([values, np.ones(len(values))]) if self.biased else values


@dataclass(frozen=True)
class DenseChain:
    """Linear layers of a network, to be changed in it; layers: as they were."""

    model: nn.Module
    names: Sequence[str]
    layers: Sequence[DenseLayer]

    @classmethod
    def of(cls, model: nn.Module, names: Sequence[str]) -> DenseChain:
        """The Linear layers `names` of `model`, in the order they run."""
        return cls(model, names, [DenseLayer.of(_linear(model, name)) for name in names])

    def values(self, depth: int, split: Split) -> Matrix:
        """What enters a layer, [m, in], the network before it as it is now.

        Raises NotApplicable where that is more than one vector per input.
        """
        values: Matrix = DenseData.of(self.model, self.names[depth], split).inputs.numpy()
        return values

    @torch.no_grad()
    def write(self, depth: int, change: Matrix) -> None:
        """Give a layer the weights that it had plus a change of as many numbers."""
        module, layer = _linear(self.model, self.names[depth]), self.layers[depth]
        whole = torch.from_numpy(layer.weight + change.reshape(layer.weight.shape)).to(module.weight)
        width = module.in_features
        module.weight.copy_(whole[:, :width])
        if module.bias is not None:
            module.bias.copy_(whole[:, width])

    def changes(self) -> dict[str, Tensor]:
        """What was added to each parameter that is another one now, by its name in the network."""
        changes = dict[str, Tensor]()
        for name, layer in zip(self.names, self.layers, strict=True):
            module, before = _linear(self.model, name), torch.from_numpy(layer.weight)
            width = module.in_features
            changes[f"{name}.weight"] = module.weight.detach().double().cpu() - before[:, :width]
            if module.bias is not None:
                changes[f"{name}.bias"] = module.bias.detach().double().cpu() - before[:, width]
        return {name: change for name, change in changes.items() if change.any()}


def _linear(model: nn.Module, name: str) -> nn.Linear:
    module = model.get_submodule(name)
    assert isinstance(module, nn.Linear)
    return module
