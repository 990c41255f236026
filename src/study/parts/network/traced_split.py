"""A split on which a network has run once: what patches of its head get right there, without running it again."""

from __future__ import annotations

import torch
from torch import Tensor

from study.data.split import Split
from study.models.patch_network import PatchNetwork
from study.problem.prediction import BATCH


class TracedSplit:
    """The model of a patch network on a split.

    features: [N, d], input of its head; logits: [N, C]; labels: [N]. Both outputs are of the model without patches.
    """

    def __init__(self, network: PatchNetwork, split: Split) -> None:
        with torch.no_grad():
            passes = [network.trace(batch.inputs) for batch in split.batches(BATCH)]
            self.logits, self.features = (torch.cat(parts) for parts in zip(*passes, strict=True))
        self.labels = split.labels

    def right(self, network: PatchNetwork) -> Tensor:
        """Whether each item is right with the patches of `network`, which stand on the same model, [N] bool."""
        batches = zip(self.logits.split(BATCH), self.features.split(BATCH), strict=True)
        with torch.no_grad():
            return torch.cat([network.patched(*batch) for batch in batches]).argmax(1) == self.labels

    def right_before(self) -> Tensor:
        """Whether each item is right without patches, [N] bool."""
        return self.logits.argmax(1) == self.labels

    def gain_alone(self, network: PatchNetwork) -> Tensor:
        """By how many items more are right with each of the patches of `network` alone than without any, [R] int64."""
        gain = torch.zeros(len(network.patterns), dtype=torch.int64, device=self.labels.device)
        parts = self.logits, self.features, self.labels, self.right_before()
        with torch.no_grad():
            for logits, features, labels, before in zip(*(part.split(BATCH) for part in parts), strict=True):
                rows, patches, support = network.support(features)
                after = (logits[rows] + network.alone(patches, support)).argmax(1) == labels[rows]
                gain.index_add_(0, patches, after.long() - before[rows].long())
        return gain
