"""MixMatch (Berthelot et al., NeurIPS 2019): guessed targets, their sharpening, MixUp, the semi-supervised loss."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


def smoothed(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Targets [B, classes] for `labels` [B]: 1 - smoothing on the label, smoothing / (classes - 1) on every other."""
    target = torch.full((len(labels), classes), smoothing / (classes - 1), device=labels.device)
    return target.scatter_(1, labels[:, None], 1 - smoothing)


def sharpened(probability: Tensor, temperature: float) -> Tensor:
    """`probability` [B, classes] to the power of 1 / `temperature`, each row divided by its sum."""
    return (probability.log() / temperature).softmax(1)


def guessed(model: nn.Module, views: Tensor, items: int, temperature: float) -> Tensor:
    """Targets [items, classes] that `model` itself gives: its sharpened mean answer to the views of each item.

    views: [V * items, ...], all of one view together. The model runs in the mode that it is in, without gradient.
    """
    with torch.no_grad():
        mean = model(views).softmax(1).unflatten(0, (-1, items)).mean(0)
        return sharpened(mean, temperature)


def mixup_shares(count: int, alpha: float, generator: np.random.Generator) -> list[float]:
    """`count` draws of l ~ Beta(alpha, alpha), each turned into max(l, 1 - l): the larger part is the row's own."""
    drawn = generator.beta(alpha, alpha, size=count)
    return [float(share) for share in np.maximum(drawn, 1 - drawn)]


def mixed_up(rows: Tensor, order: Tensor, share: float) -> Tensor:
    """share * rows + (1 - share) * rows[order], for `rows` [N, ...] and a permutation `order` [N]."""
    return torch.lerp(rows[order], rows, share)


def mixmatch_loss(
    model: nn.Module,
    labelled: tuple[Tensor, Tensor],
    unlabelled: tuple[Tensor, Tensor],
    *,
    share: float,
    order: Tensor,
    weight: float,
) -> Tensor:
    """Cross-entropy on the labelled rows plus `weight` times the squared error on the others, all mixed up; a scalar.

    The labelled rows are mixed, but held to the label of their larger part, as HybridRepair's code has it.

    Args:
        labelled: inputs [L, ...] and labels [L].
        unlabelled: inputs [U, ...] and targets [U, classes].
        order: [L + U], the row that each row is mixed with.
    """
    (inputs, labels), (others, targets) = labelled, unlabelled
    mixed = mixed_up(torch.cat([inputs, others]), order, share)
    known = functional.one_hot(labels, targets.shape[1]).to(targets)
    mixed_targets = mixed_up(torch.cat([known, targets]), order, share)
    logits = model(mixed)
    count = len(labels)
    error = (logits[count:].softmax(1) - mixed_targets[count:]).square().mean()
    loss: Tensor = functional.cross_entropy(logits[:count], labels) + weight * error
    return loss
