"""Consistency of the predictions for several views of the same inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor


def jensen_shannon(logits: Sequence[Tensor]) -> Tensor:
    """Jensen-Shannon divergence among views, AugMix's consistency loss (Hendrycks et al., ICLR 2020, section 3).

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
