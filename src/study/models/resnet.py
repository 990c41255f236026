"""ResNet18 (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016) for small and for large images."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field, validate_call
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights
from torchvision.models.resnet import BasicBlock, conv1x1

from study.models.images import Width, image_shape, laid_out, scaled
from study.models.pretrained import load_pretrained

SMALLEST, LARGE = 16, 64


class ResNet18(nn.Module):
    """torchvision's network, with its names; below 64 pixels with the stem of CIFAR work: 3x3, stride 1, no pooling.

    Maps [B, C, H, W] to logits [B, num_classes]. Raises UsageError for inputs that are no images or below 16x16, and
    as `load_pretrained` does.

    Args:
        width: 1 for 64, 128, 256 and 512 channels.
        pretrained: start from torchvision's ImageNet weights, which need its network as it is.
    """

    @validate_call
    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_classes: Annotated[int, Field(ge=2)],
        width: Width = 1.0,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        channels, *sides = image_shape("resnet18", input_shape, SMALLEST)
        large = min(sides) >= LARGE
        widths = [scaled(channels, width) for channels in (64, 128, 256, 512)]
        kernel, stride = (7, 2) if large else (3, 1)
        self.conv1 = nn.Conv2d(channels, widths[0], kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        self.layer1 = _stage(widths[0], widths[0], 1)
        self.layer2, self.layer3, self.layer4 = (_stage(*pair, 2) for pair in pairwise(widths))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[3], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        laid_out(self)
        if pretrained:
            given = {
                "num_classes": num_classes,
                "channels": channels,
                "width": width,
                "pixels": f"{LARGE} or more" if large else min(sides),
            }
            expected = {"num_classes": 1000, "channels": 3, "width": 1.0, "pixels": f"{LARGE} or more"}
            load_pretrained(self, ResNet18_Weights.IMAGENET1K_V1, given, expected)

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.maxpool(self.relu(self.bn1(self.conv1(inputs))))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        logits: Tensor = self.fc(self.avgpool(features).flatten(1))
        return logits


def _stage(inside: int, outside: int, stride: int) -> nn.Sequential:
    """Two blocks; the first one halves height and width where the stride is 2."""
    shortcut = nn.Sequential(conv1x1(inside, outside, stride), nn.BatchNorm2d(outside)) if stride != 1 else None
    return nn.Sequential(BasicBlock(inside, outside, stride, shortcut), BasicBlock(outside, outside))
