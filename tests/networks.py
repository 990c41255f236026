"""Networks that a user might bring."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class TinyNet(nn.Module):
    """One convolution with BatchNorm and two dense layers, for images of 8x8."""

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(72, 16), nn.ReLU(), nn.Linear(16, num_classes))

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(inputs))
        return logits


class Plain(nn.Module):
    """Everything functional, nothing of this package, and no way to know the data set's shape."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, 32)
        self.out = nn.Linear(32, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden: Tensor = functional.relu(self.hidden(inputs.flatten(1)))
        if hidden.sum() < 0:  # never: but torch.fx cannot know
            hidden = -hidden
        logits: Tensor = self.out(hidden)
        return logits
