"""Consistency of the predictions for several views of the same inputs (AugMix; Hendrycks et al., ICLR 2020)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def jensen_shannon(logits: Sequence[Tensor]) -> Tensor:
    """Jensen-Shannon divergence among views, AugMix's consistency loss (its section 3).

    With p_v the softmax of view v and M = log(clamp(mean_v p_v, 1e-7, 1)) it is the mean over views of KL(p_v || M),
    itself the mean over the batch of sum_c p_vc (log p_vc - M_c).

    Args:
        logits: one tensor [B, classes] per view, rows in the same order.

    Returns:
        A scalar in nats: 0 if all views agree, at most log(number of views).
    """
    log_probability = torch.stack([view.float().log_softmax(dim=1) for view in logits])
    probability = log_probability.exp()
    log_mean = probability.mean(dim=0).clamp(1e-7, 1).log()
    return (probability * (log_probability - log_mean)).sum(dim=2).mean()


def consistency_loss(model: nn.Module, clean: Tensor, views: Tensor, labels: Tensor, weight: float) -> Tensor:
    """Cross-entropy on the clean images plus `weight` times the Jensen-Shannon divergence among all views, a scalar.

    Args:
        model: gives logits [N, classes].
        clean: [B, C, H, W].
        views: [V * B, C, H, W], one view of every image after the other.
        labels: [B].
        weight: of the divergence, at least 0.
    """
    # One forward for all rows: BatchNorm sees clean and mixed images together, as in AugMix.
    logits = model(torch.cat([clean, views])).split(len(clean))
    return functional.cross_entropy(logits[0], labels) + weight * jensen_shannon(logits)
