"""Keeping the weights of the best moment of a training."""

from __future__ import annotations

from torch import Tensor, nn


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of a model's parameters and persistent buffers."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


class BestState:
    """The parameters and buffers with the highest score so far, all of one moment; of equal scores the earliest.

    score: the highest so far, None before the first offer.
    """

    def __init__(self) -> None:
        self.score: float | None = None
        self._state: dict[str, Tensor] = {}

    def offer(self, score: float, model: nn.Module) -> bool:
        """Keep the present state of `model` if `score` is the highest so far; returns whether it is."""
        if self.score is not None and not score > self.score:
            return False
        self.score, self._state = score, state_of(model)
        return True

    def restore(self, model: nn.Module) -> None:
        """Put the best state into `model`, which stays as it is if nothing was offered."""
        if self.score is not None:
            model.load_state_dict(self._state)
