"""The study's FaceNet-style network: 11 layers, two classes, and no dense layer with a ReLU.

The study (ICSE 2026) names the number of its layers and of its classes, no more; these are ours, counted as its LeNet5
has 8: four convolutions, four poolings, a mean, two dense layers. The embedding comes from FaceNet (Schroff et al.,
CVPR 2015).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field, validate_call
from torch import Tensor, nn

from study.models.images import Width, conv_block, image_shape, laid_out, scaled

SMALLEST = 16


class FaceNet(nn.Module):
    """Four blocks (conv 3x3, BatchNorm, ReLU, max-pool 2) of 32 to 256 channels, their mean, an embedding, the classes.

    The embedding is affine: from the last block to the logits there is one linear map, so approaches that need a hidden
    dense layer with a ReLU do not apply, as in the study.
    Maps [B, C, H, W] to logits [B, num_classes]. Raises UsageError for inputs that are no images or below 16x16.

    Args:
        embedding: its dimensions at width 1.
        width: what the channels and the embedding are multiplied with.
        batch_norm: whether the blocks have it.
    """

    @validate_call
    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_classes: Annotated[int, Field(ge=2)],
        embedding: Annotated[int, Field(ge=2)] = 128,
        width: Width = 1.0,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        channels, *_ = image_shape("facenet", input_shape, SMALLEST)
        widths = [channels, *(scaled(base, width) for base in (32, 64, 128, 256))]
        self.blocks = nn.Sequential(
            *(conv_block(inside, outside, batch_norm=batch_norm) for inside, outside in pairwise(widths))
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.embedding = nn.Linear(widths[-1], scaled(embedding, width))
        self.classifier = nn.Linear(self.embedding.out_features, num_classes)
        laid_out(self)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.embedding(self.pool(self.blocks(inputs)).flatten(1)))
        return logits
