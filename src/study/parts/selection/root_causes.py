"""HUDD's root cause clusters: failing inputs that are wrong for the same reason, by their relevance heatmaps.

Fahmy et al., IEEE Transactions on Reliability 70(4), 2021; steps as in their code (SNTSVV/HUDD-Toolset).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from study.data.split import Split
from study.errors import RepairFailed
from study.parts.localisation.relevance import BATCH, Relevance, heatmaps
from study.parts.selection.clustering import Array, Clusters, clusters, distances, within_cluster_distances
from study.parts.selection.unsafe_set import without_singletons

FEWEST = 4
"""Failing inputs below which they form one cluster."""


@dataclass(frozen=True)
class RootCauses:
    """Clusters of failing inputs at the layer where they are tightest.

    layer: an index into `Relevance.names`; errors: the inputs that were clustered, indices into the split [n]; labels:
    their cluster 0 .. K - 1, -1 for an input that is alone [n]; heatmaps: at that layer [n, P]; excluded: failing
    inputs that no relevance reaches; cut: the clustering, None where there were too few inputs for one.
    """

    layer: int
    errors: Tensor
    labels: Tensor
    heatmaps: Tensor
    excluded: int
    cut: Clusters | None

    @property
    def count(self) -> int:
        """K, the number of clusters."""
        return int(self.labels.max()) + 1

    @property
    def curve(self) -> list[tuple[int, float]]:
        """Numbers of clusters that were tried at the layer, and the within-cluster distance of each."""
        return [] if self.cut is None else list(zip(self.cut.numbers.tolist(), self.cut.within.tolist(), strict=True))


def root_causes(
    relevance: Relevance,
    split: Split,
    errors: Tensor,
    *,
    max_clusters: int,
    scaled: bool = True,
    pool: int | None = None,
) -> RootCauses:
    """Cluster the items of `split` at `errors` (at least one) by their heatmaps.

    Args:
        max_clusters: the largest number of clusters that is tried.
        scaled: compare layers on distances divided by the layer's largest.
        pool: see `heatmaps`.

    Raises RepairFailed where all heatmaps are 0.
    """
    maps, alive = heatmaps(relevance, split, errors, pool=pool)
    maps, kept = [each[alive] for each in maps], errors[alive.to(errors.device)]
    if not len(kept):
        raise RepairFailed("no relevance reaches the features of any failing input: its first dense layer is dead")
    layer, cut = len(maps) - 1, None
    labels = torch.zeros(len(kept), dtype=torch.int64)
    if len(kept) >= FEWEST:
        cuts = [_cut(distances(each, each).cpu().numpy(), max_clusters, scaled) for each in maps]
        layer = min(range(len(cuts)), key=lambda number: cuts[number][0])
        cut = cuts[layer][1]
        labels = without_singletons(torch.from_numpy(cut.labels))
    return RootCauses(layer, kept, labels.to(kept.device), maps[layer], len(errors) - len(kept), cut)


def _cut(distance: Array, max_clusters: int, scaled: bool) -> tuple[float, Clusters]:
    """Steps 4 and 5 for one layer: its clusters, and how tight they are."""
    cut = clusters(distance, max_clusters)
    scale = distance.max() if scaled and distance.max() > 0 else 1.0
    order = cut.labels.argsort(kind="stable").astype(np.int32)
    return float(within_cluster_distances(distance / scale, [cut.labels], order)[0]), cut


def distances_to_errors(
    relevance: Relevance, split: Split, indices: Tensor, causes: RootCauses, pool: int | None = None
) -> Tensor:
    """Distances [M, n] from the heatmaps of the items at `indices` [M] to those of the errors, at the chosen layer."""
    rows = list[Tensor]()
    for part in indices.split(BATCH):
        (maps,), _ = heatmaps(relevance, split, part, causes.layer, pool)
        rows.append(distances(maps, causes.heatmaps))
    return torch.cat(rows)
