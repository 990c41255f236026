"""Max-pooling in two halves: which element of each window it picks, and the elements of the windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Pair = tuple[int, int]


@dataclass(frozen=True)
class MaxPooling:
    """A max-pooling by the arguments of `functional.max_pool2d`."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    ceil: bool

    @classmethod
    def of(cls, module: nn.Module) -> MaxPooling:
        """Of a MaxPool2d."""
        assert isinstance(module, nn.MaxPool2d)
        numbers = (module.kernel_size, module.stride, module.padding, module.dilation)
        kernel, stride, padding, dilation = (_pair(number) for number in numbers)
        return cls(kernel, stride, padding, dilation, bool(module.ceil_mode))

    def indices(self, entered: Tensor) -> Tensor:
        """The place of each window's maximum in its plane: [B, C, h, w], for `entered` [B, C, H, W]."""
        places: Tensor = functional.max_pool2d(
            entered, self.kernel, self.stride, self.padding, self.dilation, self.ceil, return_indices=True
        )[1]
        return places

    def windows(self, entered: Tensor, count: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The elements [B, C, K, h * w] of the `count` (h, w) windows, and which of [K, h * w] are not padding."""
        height, width = entered.shape[2:]
        sides = zip(count, self.stride, self.dilation, self.kernel, strict=True)
        ends = [(number - 1) * stride + dilation * (kernel - 1) + 1 for number, stride, dilation, kernel in sides]
        plane = torch.arange(1.0, height * width + 1, device=entered.device).view(1, 1, height, width)
        top, left = self.padding
        plane = functional.pad(plane, (left, ends[1] - left - width, top, ends[0] - top - height))
        places = functional.unfold(plane, self.kernel, self.dilation, 0, self.stride)[0].long()
        return entered.flatten(2)[:, :, (places - 1).clamp(min=0)], places > 0


def picked(entered: Tensor, indices: Tensor) -> Tensor:
    """The elements of `entered` [B, C, H, W] at `indices` [B, C, h, w], places in their plane: [B, C, h, w]."""
    return entered.flatten(2).gather(2, indices.flatten(2)).view_as(indices)


def _pair(number: Any) -> Pair:
    return (number, number) if isinstance(number, int) else (int(number[0]), int(number[1]))
