"""Votes of two models that are weighed, at each input, by how much each one's answer wavers.

Source: Li et al., "Lightweight Approaches to DNN Regression Error Reduction: An Uncertainty Alignment Perspective",
ICSE 2023. There each input has draws of its own; here a vote keeps the draws that it was made with, the same for every
input, so that it is a function of the input alone: it can be attacked, stored and exported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.models.votes import own_blueprint
from study.storage.blueprint import Blueprint, blueprint_of


class PerturbationVote(nn.Module):
    """Both models run on each input under T perturbations; to log-probabilities [B, C], which serve as logits.

    noise: [T, *shape] in the units of the inputs, zeros until it is filled in.

    Args:
        shape: of an input without the batch.
        passes: T.
        prior, least_variance: see `weighted`.
    """

    noise: Tensor

    def __init__(
        self,
        before: nn.Module,
        after: nn.Module,
        shape: Sequence[int],
        passes: int,
        prior: float = 0.5,
        least_variance: float = 1e-3,
    ) -> None:
        super().__init__()
        self.before, self.after = before, after
        self.settings = {"prior": prior, "least_variance": least_variance}
        self.register_buffer("noise", torch.zeros(passes, *shape))

    def forward(self, inputs: Tensor) -> Tensor:
        old, new = (
            torch.stack([functional.log_softmax(model(inputs + noise), 1) for noise in self.noise])
            for model in (self.before, self.after)
        )
        return weighted(old, new, **self.settings)

    @property
    def blueprint(self) -> Blueprint:
        """How to build this model again: see `study.storage.blueprint`."""
        passes, *shape = self.noise.shape
        parts = {"before": blueprint_of(self.before), "after": blueprint_of(self.after)}
        return own_blueprint(self, **parts, shape=shape, passes=passes, **self.settings)


class DropoutVote(nn.Module):
    """Both models' last layer runs on its input under T masks of its own; to log-probabilities [B, C], as logits.

    All before it runs once. masks: [2, T, F], of the F inputs of the layer in `before` and in `after`, ones until they
    are filled in: 0 where a unit is dropped, and 1 / (1 - rate) where it is kept.

    Args:
        before, after: of one architecture.
        layer: name of the Linear layer that gives the logits of each.
        passes: T.
        prior, least_variance: see `weighted`.
    """

    masks: Tensor

    def __init__(
        self,
        before: nn.Module,
        after: nn.Module,
        layer: str,
        passes: int,
        prior: float = 0.5,
        least_variance: float = 1e-3,
    ) -> None:
        super().__init__()
        self.before, self.after, self.layer = before, after, layer
        self.settings = {"prior": prior, "least_variance": least_variance}
        features = before.get_parameter(f"{layer}.weight").shape[1]
        self.register_buffer("masks", torch.ones(2, passes, features))

    def forward(self, inputs: Tensor) -> Tensor:
        old, new = (
            functional.log_softmax(self._logits(model, masks, inputs), 2)
            for model, masks in ((self.before, self.masks[0]), (self.after, self.masks[1]))
        )
        return weighted(old, new, **self.settings)

    def _logits(self, model: nn.Module, masks: Tensor, inputs: Tensor) -> Tensor:
        """Logits [T, B, C] of a model under its masks [T, F]: one product with the T masked weights."""
        entered: list[Tensor] = []
        layer = model.get_submodule(self.layer)
        hook = layer.register_forward_pre_hook(lambda _, arguments: entered.append(arguments[0]))
        try:
            model(inputs)
        finally:
            hook.remove()
        weights = model.get_parameter(f"{self.layer}.weight") * masks.unsqueeze(1)  # [T, C, F]
        logits: Tensor = (entered[-1] @ weights.flatten(0, 1).T).unflatten(1, weights.shape[:2]).transpose(0, 1)
        return logits + layer.bias if isinstance(layer.bias, Tensor) else logits

    @property
    def blueprint(self) -> Blueprint:
        """How to build this model again: see `study.storage.blueprint`."""
        parts = {"before": blueprint_of(self.before), "after": blueprint_of(self.after)}
        return own_blueprint(self, **parts, layer=self.layer, passes=self.masks.shape[1], **self.settings)


def weighted(old: Tensor, new: Tensor, prior: float, least_variance: float) -> Tensor:
    """The mean answers of two models mixed, as log-probabilities [B, C]: the one that wavers more counts less.

    A model wavers by the variance of its probabilities over the passes, summed over the classes.

    Args:
        old, new: [T, B, C] log-probabilities of T passes.
        prior: share of the new model that is fixed in advance; the rest goes by the inverse variances.
        least_variance: variances are brought into [least_variance, 1 - least_variance].
    """
    wavering = [
        passes.exp().var(0, correction=0).sum(1).clamp(least_variance, 1 - least_variance) for passes in (old, new)
    ]
    share = (1 - prior) * wavering[1] / (wavering[0] + wavering[1])  # [B], of the old model
    means = [passes.logsumexp(0) - math.log(len(passes)) for passes in (old, new)]
    return torch.logaddexp(means[0] + share.log().unsqueeze(1), means[1] + (-share).log1p().unsqueeze(1))
