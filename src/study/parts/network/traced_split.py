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

    def negative_flip_rate(self, network: PatchNetwork) -> float:
        """Share of the items that are right without the patches of `network` and wrong with them."""
        before = self.logits.argmax(1) == self.labels
        return (before & ~self.right(network)).double().mean().item()
