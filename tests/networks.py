"""Networks that a user might bring."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


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
