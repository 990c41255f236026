"""How many passes over one input a repair takes, counted by a hook on every layer that runs meanwhile."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import _functorch
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.hooks import RemovableHandle

WEIGHTED = (nn.Linear, nn.Bilinear, nn.MultiheadAttention, _ConvNd)
"""Layers whose multiply-adds are counted; a pass spends nearly all of its time in them."""


class Passes:
    """Counts, while it is entered, the multiply-adds of all layers in `WEIGHTED`, of whatever network.

    The unit is one whole pass of the faulty model over one input: a pass over half of the network counts as half, one
    of a network twice as large as two. A call whose output requires grad counts as one backward pass of that layer as
    well. That is an estimate: the call may never be differentiated, or more than once, or up to some layer only.

    Under `torch.func.vmap` what counts is the whole stack. Not seen, as no module is called: matrix products on stored
    activations (a search that patches one neuron's outgoing weights or rows of the last layer, linear regions, bounds,
    programs), `torch.nn.functional` with weights of its own, the products of attention, the fused kernel of a
    `nn.TransformerEncoderLayer` without gradients, and what is inside TorchScript. Nor is what other processes run;
    threads of this one that run networks of their own are counted too.
    """

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        """Take the unit from one pass of `model`, in eval mode, over `example` [1, ...]."""
        self._forward = self._backward = 0
        with self, torch.enable_grad():  # without gradients torch fuses some layers
            model(example)
        self._unit, self._forward, self._backward = self._forward, 0, 0

    def __enter__(self) -> Passes:
        self._hook: RemovableHandle = register_module_forward_hook(self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hook.remove()

    def costs(self) -> dict[str, float]:
        """`forward_passes` and `backward_passes`; empty for a model without such layers."""
        if not self._unit:
            return {}
        return {"forward_passes": self._forward / self._unit, "backward_passes": self._backward / self._unit}

    def _count(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not isinstance(module, WEIGHTED):
            return
        if isinstance(module, nn.MultiheadAttention):
            output = output[0]
        if not isinstance(output, Tensor):  # of a tracer
            return
        transposed = isinstance(module, _ConvNd) and module.transposed
        whole = _whole(inputs[0] if transposed else output)[0]
        work = whole.numel() * _multiply_adds(module)
        self._forward += work
        if _whole(output)[1]:
            self._backward += work


def _whole(tensor: Tensor) -> tuple[Tensor, bool]:
    """The plain tensor under the wrappers of `torch.func`, whose shapes hide a stack, and whether any requires grad.

    The public interface does not say how large a stack is.
    """
    differentiated = tensor.requires_grad
    while _functorch.is_functorch_wrapped_tensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
        differentiated = differentiated or tensor.requires_grad
    return tensor, differentiated


def _multiply_adds(module: nn.Module) -> int:
    """Multiply-adds of each number of the output (of a transposed convolution: of the input) of a layer."""
    if isinstance(module, nn.Linear):
        return module.in_features
    if isinstance(module, _ConvNd):
        channels = module.out_channels if module.transposed else module.in_channels
        return channels // module.groups * math.prod(module.kernel_size)
    if isinstance(module, nn.Bilinear):
        return module.in1_features * module.in2_features
    assert isinstance(module, nn.MultiheadAttention)
    return 4 * int(module.embed_dim)  # query, key, value and output; as many keys as queries
