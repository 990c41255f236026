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
class Member:
    """The unsafe set of one cluster: places in the improvement set [m], and their distances to the cluster [m]."""

    places: Tensor
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


def unsafe_sets(nearness: Tensor, most: Tensor) -> list[Member]:
    """The unsafe set of each cluster: disjoint, the o-th nearest cluster of an input counting in round o.

    Args:
        nearness: distances [S, K] from `to_clusters`.
        most: quotas [K].
    """
    ranked = nearness.argsort(dim=1, stable=True)
    free = torch.ones(len(nearness), dtype=torch.bool, device=nearness.device)
    taken: list[list[Tensor]] = [[] for _ in range(len(most))]
    room = most.tolist()
    for order in range(len(room)):
        # In one round an input has one cluster, so the clusters do not compete.
        for cluster in (c for c, left in enumerate(room) if left):
            places = (free & (ranked[:, order] == cluster)).nonzero().flatten()
            chosen = places[nearness[places, cluster].argsort(stable=True)[: room[cluster]]]
            taken[cluster].append(chosen)
            room[cluster] -= len(chosen)
            free[chosen] = False
    sets = [torch.cat(parts) for parts in taken]
    return [Member(chosen, nearness[chosen, cluster]) for cluster, chosen in enumerate(sets)]


def balanced_bag(sets: list[Member], size: int, generator: torch.Generator) -> Tensor:
    """Places in the improvement set, repeated so that every set that is not empty fills `size` of them.

    Each keeps its inputs and draws the rest with replacement, in proportion to 1 - d / sum of d.
    """
    parts = list[Tensor]()
    for member in sets:
        if count := len(member.places):
            total = member.distances.sum()
            even = count == 1 or not bool(total > 0)
            weights = torch.ones(count) if even else (1 - member.distances / total).clamp(min=0).float().cpu()
            drawn = _drawn(weights, size - count, generator).to(member.places.device)
            parts += [member.places, member.places[drawn]]
    return torch.cat(parts)


def random_bag(candidates: Tensor, distinct: int, size: int, generator: torch.Generator) -> Tensor:
    """`size` of the places `candidates`, all from at most `distinct` of them drawn at random: each once, then again."""
    places = candidates[torch.randperm(len(candidates), generator=generator)[:distinct].to(candidates.device)]
    again = _drawn(torch.ones(len(places)), size - len(places), generator)
    return torch.cat([places, places[again.to(places.device)]])[:size]


def capped(bag: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """The bag, or `most` (at least one) of its entries at random."""
    if len(bag) <= most:
        return bag
    return bag[torch.randperm(len(bag), generator=generator)[: max(1, most)].to(bag.device)]


def _drawn(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    if count <= 0:
        return torch.empty(0, dtype=torch.int64)
    return torch.multinomial(weights, count, replacement=True, generator=generator)
