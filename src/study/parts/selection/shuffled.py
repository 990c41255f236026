"""Items of several splits in random order."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from study.data.split import Selected, Split, joined


def shuffled(name: str, splits: Sequence[Split], limit: int, generator: torch.Generator) -> Split:
    """At most `limit` items of `splits`, each split in random order, one split after the other; no input is copied."""
    chosen = []
    for split in splits:
        order = torch.randperm(len(split), generator=generator)[:limit].to(split.device)
        chosen.append(Split(split.name, Selected(split.inputs, order), split.labels[order]))
        limit -= len(order)
    return joined(name, chosen)
