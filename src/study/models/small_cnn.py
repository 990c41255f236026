"""A small convolutional network for images of any size."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, validate_call
from torch import Tensor, nn

from study.models.images import Width, conv_block, image_shape, laid_out, scaled

Channels = Annotated[int, Field(ge=1, le=4096)]


class SmallCNN(nn.Module):
    """Blocks (conv 3x3, ReLU, max-pool 2 while there is something to pool), then dense layers with ReLU between.

    Maps [B, C, H, W] to logits [B, num_classes]. Raises UsageError for inputs that are no images.

    Args:
        channels: of each block, at width 1.
        dense: neurons of each hidden dense layer, at width 1.
        width: what both are multiplied with.
        batch_norm: BatchNorm after each convolution.
    """

    @validate_call
    def __init__(
        self,
        *,
        input_shape: tuple[int, ...],
        num_classes: Annotated[int, Field(ge=2)],
        channels: list[Channels] = [16, 32, 64, 64],  # noqa: B006 (pydantic copies it)
        dense: list[Channels] = [64],  # noqa: B006
        width: Width = 1.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        inside, *sides = image_shape("small_cnn", input_shape)
        blocks: list[nn.Module] = []
        for base in channels:
            pool, outside = min(sides) >= 2, scaled(base, width)
            blocks.append(conv_block(inside, outside, batch_norm=batch_norm, pool=pool))
            inside, sides = outside, [side // 2 for side in sides] if pool else sides
        self.blocks, self.flatten = nn.Sequential(*blocks), nn.Flatten()
        layers: list[nn.Module] = []
        inside *= sides[0] * sides[1]
        for base in dense:
            layers += [nn.Linear(inside, scaled(base, width)), nn.ReLU()]
            inside = scaled(base, width)
        self.head = nn.Sequential(*layers, nn.Linear(inside, num_classes))
        laid_out(self)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(self.flatten(self.blocks(inputs)))
        return logits
