"""VGG (Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torchvision
from pydantic import Field, validate_call
from torch import nn
from torchvision.models import VGG11_BN_Weights, VGG11_Weights, VGG16_BN_Weights, VGG16_Weights

from study.models.images import Width, image_shape, laid_out, scaled
from study.models.pretrained import load_pretrained

SMALLEST, LARGE = 32, 128
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3)}
"""Convolutions of each of the five stages, by the number of weighted layers in torchvision's network."""
WEIGHTS = {
    (11, False): VGG11_Weights.IMAGENET1K_V1,
    (11, True): VGG11_BN_Weights.IMAGENET1K_V1,
    (16, False): VGG16_Weights.IMAGENET1K_V1,
    (16, True): VGG16_BN_Weights.IMAGENET1K_V1,
}


class VGG(torchvision.models.VGG):
    """torchvision's network, with its names; below 128 pixels with a small head: mean over the map, dense 512, classes.

    So the head has a hidden dense layer with a ReLU at every size (two of 4096 in the large one), and dropout.
    Maps [B, C, H, W] to logits [B, num_classes]. Raises UsageError for inputs that are no images or below 32x32, and
    as `load_pretrained` does.

    Args:
        depth: number of weighted layers of torchvision's network; the small head has one less.
        batch_norm: BatchNorm after each convolution.
        width: 1 for 64 to 512 channels.
        pretrained: start from torchvision's ImageNet weights, which need its network as it is.
    """

    @validate_call
    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_classes: Annotated[int, Field(ge=2)],
        depth: Literal[11, 16] = 16,
        batch_norm: bool = True,
        width: Width = 1.0,
        pretrained: bool = False,
    ) -> None:
        channels, *sides = image_shape(f"vgg{depth}{'_bn' if batch_norm else ''}", input_shape, SMALLEST)
        large = min(sides) >= LARGE
        nn.Module.__init__(self)
        self.features = _features(channels, depth, batch_norm, width)
        self.avgpool = nn.AdaptiveAvgPool2d(7 if large else 1)
        last = scaled(512, width)
        hidden = [last * 49, scaled(4096, width), scaled(4096, width)] if large else [last, last]
        self.classifier = _head(hidden, num_classes)
        for module in self.modules():
            _initialise(module)
        laid_out(self)
        if pretrained:
            given = {
                "num_classes": num_classes,
                "channels": channels,
                "width": width,
                "pixels": f"{LARGE} or more" if large else min(sides),
            }
            expected = {"num_classes": 1000, "channels": 3, "width": 1.0, "pixels": f"{LARGE} or more"}
            load_pretrained(self, WEIGHTS[depth, batch_norm], given, expected)


def _features(channels: int, depth: int, batch_norm: bool, width: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for count, base in zip(CONVOLUTIONS[depth], (64, 128, 256, 512, 512), strict=True):
        for _ in range(count):
            outside = scaled(base, width)
            layers += [nn.Conv2d(channels, outside, 3, padding=1), *([nn.BatchNorm2d(outside)] if batch_norm else [])]
            layers.append(nn.ReLU())
            channels = outside
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _head(widths: list[int], num_classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inside, outside in pairwise(widths):
        layers += [nn.Linear(inside, outside), nn.ReLU(), nn.Dropout()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))


def _initialise(module: nn.Module) -> None:
    """As torchvision does."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
    if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
        nn.init.zeros_(module.bias)
