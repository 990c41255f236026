"""Shifting a network's weights towards or away from those of other networks of its architecture.

H. Zhang, W. K. Chan: Apricot, ASE 2019, as the re-implementation in coinse/arachne has it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

Strategy = Literal["both", "correct", "incorrect"]


class Shift(NamedTuple):
    """w <- keep * w + pull @ W, for weights w [P] and those of n other networks W [n, P].

    keep: float64 scalar; pull: [n] float64.
    """

    keep: Tensor
    pull: Tensor

    def of(self, weights: Tensor, others: Tensor) -> Tensor:
        """The shifted weights [P]."""
        return self.keep.to(weights) * weights + self.pull.to(weights) @ others


def shift_for(right: Tensor, strategy: Strategy, eta: float) -> Shift:
    """The shift that several failing inputs ask for one after the other, as one.

    Of each input, with c and u the mean weights of the networks that are right and wrong on it and p_c and p_u their
    shares: `both` is w <- w + eta [p_c (c - w) - p_u (u - w)]; `correct` and `incorrect` take one of the two terms. A
    negative eta shifts the other way. Inputs on which the networks agree move nothing.

    Args:
        right: [n, k] bool, whether each of n networks is right on each of k inputs.
    """
    signs = right[:, divided(right)].double()
    signs = {"both": 2 * signs - 1, "correct": signs, "incorrect": signs - 1}[strategy]
    factors = 1 - eta * signs.mean(0)  # one input: w <- factor * w + (eta / n) * signs @ W
    # What the inputs from t on multiply the weights by.
    later = torch.cat([factors.flip(0).cumprod(0).flip(0), factors.new_ones(1)])
    return Shift(later[0], eta / len(right) * signs @ later[1:])


def divided(right: Tensor) -> Tensor:
    """Of k inputs ([n, k] bool: which of n networks is right) those on which some are right and some wrong, [k]."""
    return right.any(0) & ~right.all(0)


def flat_weights(model: nn.Module) -> Tensor:
    """A network's trainable parameters as one vector [P], a copy; no buffers."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters() if parameter.requires_grad])


def write_weights(model: nn.Module, weights: Tensor) -> None:
    """Set a network's trainable parameters from a vector [P], in place; each keeps its layout in memory."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter, part in zip(parameters, weights.split([p.numel() for p in parameters]), strict=True):
            parameter.copy_(part.view(parameter.shape))
