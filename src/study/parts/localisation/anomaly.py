"""How differently probes answer on failing and on passing inputs, block by block (INNER, ISSTA 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FLOOR = 1e-7


def anomaly_scores(clean: Sequence[Tensor], failing: Sequence[Tensor]) -> Tensor:
    """Of each of L probes the cross-entropy between its mean answers: - sum_k b_k log(c_k + 1e-7), [L].

    Args:
        clean: logits [M, C] of each probe on passing inputs, whose mean softmax is c.
        failing: logits [N, C] of each on failing inputs, whose mean softmax is b.
    """
    scores = []
    for passing, wrong in zip(clean, failing, strict=True):
        expected, answered = passing.softmax(1).mean(0), wrong.softmax(1).mean(0)
        scores.append(-(answered * (expected + FLOOR).log()).sum())
    return torch.stack(scores)


def most_anomalous(scores: Tensor, count: int) -> list[int]:
    """The `count` blocks with the largest scores [L], in descending order; of equals the deeper first."""
    deepest_first = scores.flip(0).argsort(descending=True, stable=True)[:count]
    return (len(scores) - 1 - deepest_first).tolist()
