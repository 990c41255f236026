"""RMSprop on one flat vector of parameters of which, at each step, only some may move."""

from __future__ import annotations

import torch
from torch import Tensor


class MaskedRMSprop:
    """Torch's RMSprop with its defaults (alpha 0.99, eps 1e-8, no momentum) on gradients with some entries set to 0.

    An entry that is held stays where it is, bit for bit, and its running mean of squares decays.
    """

    ALPHA, EPS = 0.99, 1e-8

    def __init__(self, like: Tensor, lr: float) -> None:
        """like: a vector [D] on the parameters' device."""
        self.lr = lr
        self.squares = torch.zeros_like(like)

    def stepped(self, values: Tensor, gradient: Tensor, free: Tensor) -> Tensor:
        """The values [D] after one step along `gradient` [D] in the entries `free` ([D] bool); a new tensor."""
        held = gradient * free
        self.squares.mul_(self.ALPHA).addcmul_(held, held, value=1 - self.ALPHA)
        return values.addcdiv(held, self.squares.sqrt().add_(self.EPS), value=-self.lr)
