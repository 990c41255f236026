"""BatchNorm folded into Linear layers: the head of a network in eval mode as affine maps with activations between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from study.errors import NotApplicable


@dataclass(frozen=True)
class FoldedLinear:
    """A Linear layer with the BatchNorms around it folded in, and the activations that follow.

    weight: [out, in]; bias: [out]; both without gradient; activation: ReLUs and LeakyReLUs in order, often one.
    """

    weight: Tensor
    bias: Tensor
    activation: nn.Sequential

    def __call__(self, inputs: Tensor) -> Tensor:
        """Output after the activations [B, out] of `inputs` [B, in]."""
        output: Tensor = self.activation(functional.linear(inputs, self.weight, self.bias))
        return output


def folded_layers(head: Sequence[nn.Module]) -> list[FoldedLinear]:
    """The Linear layers of a head (see `Structure.head`) in eval mode, in order.

    A BatchNorm1d right after a Linear layer is folded into it, one after an activation into the next Linear layer; a
    layer without BatchNorm shares the parameters of its module. Raises NotApplicable for a BatchNorm1d without running
    statistics.
    """
    layers, waiting = list[FoldedLinear](), list[nn.BatchNorm1d]()
    for module in head:
        if isinstance(module, nn.Linear):
            weight = module.weight.detach()
            bias = weight.new_zeros(len(weight)) if module.bias is None else module.bias.detach()
            for norm in reversed(waiting):
                scale, shift = _scale_and_shift(norm)
                weight, bias = weight * scale, bias + weight @ shift
            layers.append(FoldedLinear(weight, bias, nn.Sequential()))
            waiting.clear()
        elif isinstance(module, nn.BatchNorm1d) and not len(layers[-1].activation):
            scale, shift = _scale_and_shift(module)
            last = layers.pop()
            weight, bias = last.weight * scale[:, None], last.bias * scale + shift
            layers.append(FoldedLinear(weight, bias, last.activation))
        elif isinstance(module, nn.BatchNorm1d):
            waiting.append(module)
        elif isinstance(module, nn.ReLU):
            layers[-1].activation.append(nn.ReLU())
        elif isinstance(module, nn.LeakyReLU):
            layers[-1].activation.append(nn.LeakyReLU(module.negative_slope))
    return layers


def _scale_and_shift(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """A BatchNorm in eval mode as x * scale + shift, [width] each."""
    if norm.running_mean is None or norm.running_var is None:
        raise NotApplicable("a BatchNorm1d of its head keeps no running statistics")
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is None:
        return scale, -norm.running_mean * scale
    scale = scale * norm.weight.detach()
    return scale, norm.bias.detach() - norm.running_mean * scale
