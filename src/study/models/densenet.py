"""DenseNet121 (Huang et al., "Densely Connected Convolutional Networks", CVPR 2017) for small and for large images."""

from __future__ import annotations

from typing import Annotated

import torchvision
from pydantic import Field, validate_call
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import DenseNet121_Weights

from study.models.images import Width, image_shape, laid_out, scaled
from study.models.pretrained import load_pretrained

SMALLEST, LARGE = 16, 64
Layers = Annotated[int, Field(ge=1, le=100)]


class DenseNet(torchvision.models.DenseNet):
    """torchvision's network, with its names; below 64 pixels with a small stem: 3x3, stride 1, no pooling.

    Maps [B, C, H, W] to logits [B, num_classes]. Raises UsageError for inputs that are no images or below 16x16, and
    as `load_pretrained` does.

    Args:
        blocks: layers of each dense block, (6, 12, 24, 16) for DenseNet121.
        width: 1 for 64 channels after the stem and 32 that each layer adds.
        pretrained: start from torchvision's ImageNet weights, which need its network as it is.
    """

    @validate_call
    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_classes: Annotated[int, Field(ge=2)],
        blocks: tuple[Layers, Layers, Layers, Layers] = (6, 12, 24, 16),
        width: Width = 1.0,
        pretrained: bool = False,
    ) -> None:
        channels, *sides = image_shape("densenet121", input_shape, SMALLEST)
        large, stem = min(sides) >= LARGE, scaled(64, width)
        super().__init__(scaled(32, width), blocks, stem, num_classes=num_classes)
        kernel, stride = (7, 2) if large else (3, 1)
        self.features.conv0 = nn.Conv2d(channels, stem, kernel, stride, kernel // 2, bias=False)
        nn.init.kaiming_normal_(self.features.conv0.weight)
        if not large:
            del self.features.pool0
        laid_out(self)
        if pretrained:
            given = {
                "num_classes": num_classes,
                "channels": channels,
                "width": width,
                "pixels": f"{LARGE} or more" if large else min(sides),
                "blocks": blocks,
            }
            expected = {
                "num_classes": 1000,
                "channels": 3,
                "width": 1.0,
                "pixels": f"{LARGE} or more",
                "blocks": (6, 12, 24, 16),
            }
            load_pretrained(self, DenseNet121_Weights.IMAGENET1K_V1, given, expected)

    def forward(self, inputs: Tensor) -> Tensor:
        """As torchvision's, but nothing works in place."""
        features = functional.adaptive_avg_pool2d(functional.relu(self.features(inputs)), 1)
        logits: Tensor = self.classifier(features.flatten(1))
        return logits
