"""Equal treatment of sensitive groups during training: a penalty and a balanced draw."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

SMOOTHING = 1e-6
"""Added under the square root that stands for the absolute value, so that its gradient exists at 0."""


def equalised_odds(probabilities: Tensor, labels: Tensor, groups: Tensor, count: int = 2) -> Tensor:
    """Differentiable difference between the groups' one-vs-rest rates in a mini-batch.

    0.5 * (mean over classes present in all groups of the range of TPR + mean over all classes of the range of FPR), a
    range being the largest less the smallest of the groups' rates; with the mean probability in place of a count of
    predictions; a rate without items is 0. On one-hot probabilities it is the average absolute odds difference, up to
    the smoothing. The criterion: Hardt, Price, Srebro, "Equality of Opportunity in Supervised Learning", NeurIPS 2016.

    Args:
        probabilities: [B, C].
        labels: [B] long.
        groups: [B] long, below `count`.
        count: number of groups, at least 2.

    Returns:
        Scalar.
    """
    targets = one_hot(labels, probabilities.shape[1]).to(probabilities)
    members = one_hot(groups, count).to(probabilities).T  # [G, B]
    present = (members @ targets).all(dim=0)
    true_rates, false_rates = (
        (members @ (probabilities * items)) / (members @ items).clamp(min=1) for items in (targets, 1 - targets)
    )
    opportunity = (_range(true_rates) * present).sum() / present.sum().clamp(min=1)
    return 0.5 * (opportunity + _range(false_rates).mean())


def balancing_weights(labels: Tensor, groups: Tensor | None, exponent: float) -> Tensor:
    """Weight [N] of each item in a draw: within its class, the size of its group there to the power of -exponent.

    With exponent 1 every group of a class is drawn equally often, with 0 every item. A class keeps its share of the
    draw: drawing rare classes more often moves answers towards them, which costs accuracy. Without groups it is the
    classes that are balanced.
    """
    if groups is None:
        return torch.bincount(labels)[labels].double() ** -exponent
    count = int(groups.max()) + 1
    cells = labels * count + groups
    sizes = torch.bincount(cells, minlength=count * (int(labels.max()) + 1)).view(-1, count).double()  # [C, G]
    weights = sizes.clamp(min=1) ** -exponent
    weights = weights * (sizes.sum(1) / (sizes * weights).sum(1))[:, None]
    return weights.flatten()[cells]


def _range(rates: Tensor) -> Tensor:
    """The largest less the smallest of the groups' rates [G, C], smoothed: [C]."""
    return ((rates.amax(0) - rates.amin(0)) ** 2 + SMOOTHING).sqrt()
