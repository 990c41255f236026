"""What the networks for images share: the inputs that they take, their width, their layout, their blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from study.errors import UsageError

Width = Annotated[float, Field(gt=0, le=8)]
"""What the channels of a network are multiplied with; 1: as in its paper."""


def image_shape(architecture: str, input_shape: Sequence[int], smallest: int = 1) -> tuple[int, int, int]:
    """Channels, height and width of an input; raises UsageError where it is no image or below smallest x smallest."""
    if len(input_shape) != 3 or min(input_shape[1:]) < smallest:
        raise UsageError(
            f"architecture={architecture} takes images of at least {smallest}x{smallest} pixels, not inputs of shape "
            f"{'x'.join(map(str, input_shape))}; try architecture={'small_cnn or ' if len(input_shape) == 3 else ''}mlp"
        )
    channels, height, width = input_shape
    return channels, height, width


def scaled(channels: int, width: float) -> int:
    """A number of channels at a width, at least 1."""
    return max(1, round(channels * width))


def laid_out(net: nn.Module) -> None:
    """Let no module work in place, as approaches look at what enters and leaves one; channels last, as that trains
    faster on a CPU."""
    for module in net.modules():
        if getattr(module, "inplace", False):
            setattr(module, "inplace", False)  # noqa: B010  # torch thinks that attributes are tensors
    net.to(memory_format=torch.channels_last)


def conv_block(inside: int, outside: int, *, batch_norm: bool, pool: bool = True) -> nn.Sequential:
    """A convolution 3x3 that keeps height and width, BatchNorm if asked, ReLU, max-pool 2 if asked."""
    layers: list[nn.Module] = [nn.Conv2d(inside, outside, 3, padding=1, bias=not batch_norm)]
    layers += [nn.BatchNorm2d(outside)] if batch_norm else []
    layers.append(nn.ReLU())
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))
