"""How uncertain a network is of an input, from its answers to augmented views of it, and how much is too much.

As in HybridRepair (Li, Chen, Xu, ISSTA 2022), whose released code computes it so.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.parts.augmentation.mixing import Mixing
from study.problem.prediction import predict

IMAGES = 200
"""Images whose views are in memory at a time."""
QUERIES = 256
"""Rows of the distance matrix that are in memory at a time."""


def with_views(images: Tensor, mixing: Mixing, views: int, generator: torch.Generator) -> Tensor:
    """`images` [B, C, H, W] and `views` random views of each, [(views + 1) * B, C, H, W]: all of one view together."""
    return torch.cat([images, mixing.view(images.repeat(views, 1, 1, 1), generator)])


def view_entropy(model: nn.Module, split: Split, mixing: Mixing, views: int, generator: torch.Generator) -> Tensor:
    """Entropy in bits, [N], of the mean softmax over each image and `views` views of it; `model` runs in eval mode."""
    entropies = []
    for batch in split.batches(IMAGES):
        seen = with_views(batch.inputs, mixing, views, generator)
        logits = predict(model, Split("views", seen, batch.labels.repeat(views + 1)), batch_size=len(seen))
        mean = logits.softmax(1).unflatten(0, (views + 1, -1)).mean(0)
        entropies.append(-torch.xlogy(mean, mean).sum(1) / math.log(2))
    return torch.cat(entropies).clamp(min=0)


def relative(entropy: Tensor) -> Tensor:
    """Uncertainty u [N] in [0, 1]: `entropy` divided by its maximum; 0 everywhere where that is 0."""
    return entropy / entropy.max().clamp(min=torch.finfo(entropy.dtype).tiny)


def threshold(uncertainty: Tensor, logits: Tensor, reference: Tensor, neighbours: int, points: int) -> Tensor:
    """tau, a scalar: the mean uncertainty of the `points` held-out inputs whose density is closest to the mean density.

    Args:
        uncertainty: [V], of the held-out inputs.
        logits: [V, classes], of the held-out inputs.
        reference: [D, classes], logits of the training inputs.
        neighbours: how many of the nearest training inputs make the density.
    """
    density = nearest_distance(logits, reference, neighbours)
    ordinary = (density - density.mean()).abs().argsort(stable=True)[:points]
    return uncertainty[ordinary].mean()


def nearest_distance(queries: Tensor, reference: Tensor, neighbours: int) -> Tensor:
    """Mean cosine distance, [V], of each of `queries` [V, C] to the `neighbours` nearest of `reference` [D, C]."""
    base = functional.normalize(reference, eps=1e-12)
    nearest = min(neighbours, len(base))
    similar = [
        (functional.normalize(rows, eps=1e-12) @ base.T).topk(nearest, dim=1).values.mean(1)
        for rows in queries.split(QUERIES)
    ]
    return 1 - torch.cat(similar)
