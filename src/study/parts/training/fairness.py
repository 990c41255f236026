"""Equal treatment of two sensitive groups during training: a penalty and a balanced draw."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

SMOOTHING = 1e-6
"""Added under the square root that stands for the absolute value, so that its gradient exists at 0."""


def equalised_odds(probabilities: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
    """Differentiable difference between the groups' one-vs-rest rates in a mini-batch.

    0.5 * (mean over classes present in both groups of |TPR_0 - TPR_1| + mean over all classes of |FPR_0 - FPR_1|),
    with the mean probability in place of a count of predictions; a rate without items is 0. On one-hot probabilities it
    is the average absolute odds difference, up to the smoothing. The criterion: Hardt, Price, Srebro, "Equality of
    Opportunity in Supervised Learning", NeurIPS 2016.

    Args:
        probabilities: [B, C].
        labels: [B] long.
        groups: [B] long, 0 or 1.

    Returns:
        Scalar.
    """
    targets = one_hot(labels, probabilities.shape[1]).to(probabilities)
    rates, present = [], torch.ones_like(targets[0], dtype=torch.bool)
    for group in (0, 1):
        member = (groups == group).to(probabilities)[:, None]
        positive, negative = member * targets, member * (1 - targets)
        rates.append([_mean(probabilities, positive), _mean(probabilities, negative)])
        present = present & positive.any(dim=0)
    (tpr_first, fpr_first), (tpr_second, fpr_second) = rates
    opportunity = (_absolute(tpr_first - tpr_second) * present).sum() / present.sum().clamp(min=1)
    return 0.5 * (opportunity + _absolute(fpr_first - fpr_second).mean())


def balancing_weights(labels: Tensor, groups: Tensor | None, exponent: float) -> Tensor:
    """Weight [N] of each item in a draw: the size of its (class, group) cell to the power of -exponent.

    With exponent 1 every cell is drawn equally often, with 0 every item. Without groups the cells are the classes.
    """
    cells = labels if groups is None else labels * (int(groups.max()) + 1) + groups
    return torch.bincount(cells)[cells].double() ** -exponent


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of the values [B, C] per column under 0/1 weights [B, C]; 0 where all weights are 0."""
    return (values * weights).sum(0) / weights.sum(0).clamp(min=1)


def _absolute(difference: Tensor) -> Tensor:
    return (difference**2 + SMOOTHING).sqrt()
