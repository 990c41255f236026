"""How uncertain a network is of an input, from its outputs on augmented views of it, and how much is too much.

As in HybridRepair (Li, Chen, Xu, ISSTA 2022), whose released code computes it so.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.parts.augmentation.views import Views
from study.problem.prediction import predict

IMAGES = 200
"""Images whose views are in memory at a time."""
QUERIES = 256
"""Rows of the distance matrix that are in memory at a time."""


def view_entropy(model: nn.Module, split: Split, views: Views) -> Tensor:
    """Entropy in bits, [N], of the mean softmax over each image and its views; `model` runs in eval mode."""
    entropies = []
    for batch in split.batches(IMAGES):
        seen = views.of(batch.inputs)
        logits = predict(model, Split("views", seen, batch.labels.repeat(views.count + 1)), batch_size=len(seen))
        mean = logits.softmax(1).unflatten(0, (views.count + 1, -1)).mean(0)
        entropies.append(-torch.xlogy(mean, mean).sum(1) / math.log(2))
    return torch.cat(entropies).clamp(min=0)


def relative(entropy: Tensor) -> Tensor:
    """Uncertainty u [N] in [0, 1]: `entropy` divided by its maximum; 0 everywhere where that is 0."""
    return entropy / entropy.max().clamp(min=torch.finfo(entropy.dtype).tiny)


def threshold(uncertainty: Tensor, logits: Tensor, reference: Tensor, neighbours: int, points: int) -> Tensor:
    """tau, a scalar: the mean uncertainty of the `points` held-out inputs whose density is closest to the mean density.

    The density of an input is its mean cosine distance to the nearest training inputs in the space of logits.

    Args:
        uncertainty: [V], of the held-out inputs.
        logits: [V, classes], of the held-out inputs.
        reference: [D, classes], logits of the training inputs.
        neighbours: number of the nearest training inputs.
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
