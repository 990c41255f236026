"""The control of every localisation: as many weights, at random."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from study.parts.network.places import Entries


def random_entries(model: nn.Module, layers: Sequence[str], count: int, generator: torch.Generator) -> Entries:
    """At most `count` distinct random weights of `layers`, each as likely as any other, in the order they lie."""
    total = sum(model.get_parameter(f"{layer}.weight").numel() for layer in layers)
    positions = torch.randperm(total, generator=generator)[:count].sort().values
    return Entries.pooled(model, layers, positions.to(model.get_parameter(f"{layers[0]}.weight").device))
