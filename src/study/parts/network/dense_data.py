"""What enters and leaves a Linear layer of a network on the items of a split, once and for all, in float64."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from study.data.split import Split
from study.errors import NotApplicable
from study.parts.network.activations import entering
from study.parts.network.structure import Structure


@dataclass(frozen=True)
class DenseData:
    """A Linear layer on N items: inputs [N, F], outputs [N, C] (before any activation), labels [N]; weight [C, F].

    All on the CPU, as solvers need them; all but the labels float64.
    """

    inputs: Tensor
    outputs: Tensor
    labels: Tensor
    weight: Tensor

    @classmethod
    def of(cls, model: nn.Module, name: str, split: Split) -> DenseData:
        """Of the layer `name` of `model`; raises NotApplicable where it runs on more than one vector per input."""
        inputs = entering(model, name, split).double().cpu()
        if inputs.dim() != 2:
            raise NotApplicable(f"the layer {name} works on more than one vector per input")
        module: nn.Linear = model.get_submodule(name)  # type: ignore[assignment]
        weight, bias = module.weight.detach().double().cpu(), module.bias
        outputs = inputs @ weight.T + (0.0 if bias is None else bias.detach().double().cpu())
        return cls(inputs, outputs, split.labels.cpu(), weight)

    def at(self, indices: Tensor) -> DenseData:
        """The same of the items at `indices` [M] int64 (or [N] bool), in that order."""
        return replace(self, inputs=self.inputs[indices], outputs=self.outputs[indices], labels=self.labels[indices])


def last_rectified(model: nn.Module) -> str:
    """Name of the last Linear layer that a ReLU follows directly; raises NotApplicable where there is none."""
    layers = [layer for layer in Structure(model).layers if isinstance(layer.module, nn.Linear) and layer.activated]
    if not layers:
        raise NotApplicable("needs a Linear layer before a ReLU: the network has none")
    return layers[-1].name
