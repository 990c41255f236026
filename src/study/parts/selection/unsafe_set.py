"""HUDD's unsafe set: the improvement inputs nearest to each cluster of failures, and the bag in which clusters balance.

Fahmy et al., IEEE Transactions on Reliability 70(4), 2021, as their code (SNTSVV/HUDD-Toolset) does it, with proper
weighted draws in the bootstrap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class UnsafeSet:
    """The unsafe set of one cluster: indices into the improvement set [m], and their distances to the cluster [m]."""

    indices: Tensor
    distances: Tensor


def without_singletons(labels: Tensor) -> Tensor:
    """Labels [n] of clusters, renumbered 0 .. K - 1, and -1 for clusters of one point; one cluster if all are."""
    sizes = torch.bincount(labels)
    if int(sizes.max()) == 1:
        return torch.zeros_like(labels)
    numbers = (sizes > 1).cumsum(0) - 1
    return numbers.where(sizes > 1, -1)[labels]


def to_clusters(distances: Tensor, labels: Tensor) -> Tensor:
    """Distance [S, K] of each improvement input to its nearest member of each cluster.

    Args:
        distances: [S, n], to each failing input.
        labels: [n], 0 .. K - 1; the members of no cluster have -1.
    """
    members = labels >= 0
    target = labels[members].expand(len(distances), -1)
    nearest = distances.new_full((len(distances), int(labels.max()) + 1), math.inf)
    return nearest.scatter_reduce(1, target, distances[:, members], "amin")


def quotas(labels: Tensor, factor: float) -> Tensor:
    """U_c = ceil(factor * |C_c|) [K]: how many inputs each cluster gets at most."""
    sizes = torch.bincount(labels[labels >= 0]).double()
    return (sizes * factor - 1e-9).ceil().long()


def unsafe_sets(nearness: Tensor, limits: Tensor) -> list[UnsafeSet]:
    """The unsafe set of each cluster: disjoint, the o-th nearest cluster of an input counting in round o.

    Args:
        nearness: distances [S, K] from `to_clusters`.
        limits: quotas [K].
    """
    ranked = nearness.argsort(dim=1, stable=True)
    free = torch.ones(len(nearness), dtype=torch.bool, device=nearness.device)
    taken: list[list[Tensor]] = [[] for _ in range(len(limits))]
    room = limits.tolist()
    for order in range(len(room)):
        # In one round an input has one cluster, so the clusters do not compete.
        for cluster in (c for c, left in enumerate(room) if left):
            candidates = (free & (ranked[:, order] == cluster)).nonzero().flatten()
            chosen = candidates[nearness[candidates, cluster].argsort(stable=True)[: room[cluster]]]
            taken[cluster].append(chosen)
            room[cluster] -= len(chosen)
            free[chosen] = False
    indices = [torch.cat(parts) for parts in taken]
    return [UnsafeSet(chosen, nearness[chosen, cluster]) for cluster, chosen in enumerate(indices)]


def balanced_bag(sets: list[UnsafeSet], size: int, generator: torch.Generator) -> Tensor:
    """Indices into the improvement set, repeated so that every set that is not empty fills `size` of them.

    Each keeps its inputs and draws the rest with replacement, in proportion to 1 - d / sum of d.
    """
    parts = list[Tensor]()
    for each in sets:
        if count := len(each.indices):
            total = each.distances.sum()
            even = count == 1 or not bool(total > 0)
            weights = torch.ones(count) if even else (1 - each.distances / total).clamp(min=0).float().cpu()
            drawn = _drawn(weights, size - count, generator).to(each.indices.device)
            parts += [each.indices, each.indices[drawn]]
    return torch.cat(parts)


def random_bag(candidates: Tensor, distinct: int, size: int, generator: torch.Generator) -> Tensor:
    """`size` of the indices `candidates`, from at most `distinct` of them drawn at random: each once, then again."""
    indices = candidates[torch.randperm(len(candidates), generator=generator)[:distinct].to(candidates.device)]
    again = _drawn(torch.ones(len(indices)), size - len(indices), generator)
    return torch.cat([indices, indices[again.to(indices.device)]])[:size]


def capped(bag: Tensor, limit: int, generator: torch.Generator) -> Tensor:
    """The bag, or `limit` (at least one) of its entries at random."""
    if len(bag) <= limit:
        return bag
    return bag[torch.randperm(len(bag), generator=generator)[: max(1, limit)].to(bag.device)]


def _drawn(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    if count <= 0:
        return torch.empty(0, dtype=torch.int64)
    return torch.multinomial(weights, count, replacement=True, generator=generator)
