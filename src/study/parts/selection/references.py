"""A few failing inputs that stand for all: one per cluster of each class."""

from __future__ import annotations

from typing import Literal

import torch
from sklearn.cluster import KMeans
from torch import Tensor

from study.data.split import Split

INITIALISATIONS = 10
"""Runs of k-means, of which the best is taken."""


def references(
    split: Split,
    failing: Tensor,
    *,
    clusters: int,
    per_class: int | None,
    choose: Literal["random", "medoid"],
    generator: torch.Generator,
    seed: int,
) -> Tensor:
    """Indices into `split` of the references, by class: DeepRepair's steps 1 and 2 (Yu et al., 2021).

    Args:
        failing: [F] indices into `split`.
        clusters: k-means clusters per class; fewer where a class has fewer distinct failing inputs.
        per_class: failing inputs of a class that are clustered, drawn at random; None: all.
        choose: of each cluster a random member, or the one nearest to its mean.
        generator: on the CPU.
        seed: of k-means.
    """
    labels = split.labels[failing]
    chosen = list[Tensor]()
    for label in labels.unique():
        members = failing[labels == label]
        order = torch.randperm(len(members), generator=generator)
        members = members[order[:per_class].sort().values.to(members.device)]
        features = standardised(split.fetch(members).inputs.flatten(1).double().cpu())
        count = min(clusters, len(features.unique(dim=0)))
        kmeans = KMeans(count, n_init=INITIALISATIONS, random_state=seed).fit(features.numpy())
        assigned = torch.from_numpy(kmeans.labels_)
        for cluster in assigned.unique():
            inside = (assigned == cluster).nonzero().flatten()
            if choose == "random":
                index = int(torch.randint(len(inside), (), generator=generator))
            else:
                centre = torch.from_numpy(kmeans.cluster_centers_)[cluster]
                index = int((features[inside] - centre).norm(dim=1).argmin())
            chosen.append(members[inside[index]])
    return torch.stack(chosen)


def standardised(features: Tensor) -> Tensor:
    """Features [N, P] with mean 0 and variance 1 in each column; 0 in a constant one."""
    centred = features - features.mean(0)
    deviation = centred.square().mean(0).sqrt()
    constant = features.amax(0) == features.amin(0)
    return (centred / deviation.masked_fill(constant, 1)).masked_fill(constant, 0)
