"""The last layer of a network with what enters it as data: what repairs that layer alone never runs the rest again."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

import torch
from torch import nn

from study.data.split import Split
from study.parts.network.activations import entering
from study.parts.network.layers import output_layer
from study.parts.network.places import Entries


@dataclass(frozen=True)
class Readout:
    """The Linear layer that gives the logits, as a network of its own.

    name: of the layer in the whole network; network: a copy of it, its only module `0`; split: as the split it is made
    from, its inputs replaced by what enters the layer, [N, F].
    """

    name: str
    network: nn.Sequential
    split: Split

    @classmethod
    def of(cls, model: nn.Module, split: Split) -> Readout:
        """Of a model in eval mode, which runs once over `split`; raises NotApplicable as `output_layer` does."""
        name = output_layer(model, split.fetch(torch.arange(min(2, len(split)))).inputs)
        network = nn.Sequential(copy.deepcopy(model.get_submodule(name))).eval()
        return cls(name, network, Split(split.name, entering(model, name, split), split.labels, split.groups))

    @property
    def layer(self) -> nn.Linear:
        """The layer's copy."""
        return self.network[0]  # type: ignore[return-value]

    def in_model(self, places: Entries) -> Entries:
        """Entries of `network` as entries of the whole one."""
        return dataclasses.replace(places, names=tuple(f"{self.name}{name[1:]}" for name in places.names))
