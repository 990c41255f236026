"""Items of several splits in random order, taken in turn from one split after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from study.data.split import Selected, Split, joined


def shuffled(name: str, splits: Sequence[Split], limit: int, generator: torch.Generator) -> Split:
    """At most `limit` items: a random one of each split, then a second one of each, and so on; no input is copied.

    Where a split is used up, the others go on without it.
    """
    whole = joined(name, splits)
    sizes = [len(split) for split in splits]
    starts = torch.tensor([0, *sizes[:-1]]).cumsum(0).tolist()
    order = torch.cat(
        [start + torch.randperm(size, generator=generator) for start, size in zip(starts, sizes, strict=True)]
    )
    turn = torch.cat([torch.arange(size) for size in sizes])
    chosen = order[turn.argsort(stable=True)[:limit]].to(whole.device)
    return Split(name, Selected(whole.inputs, chosen), whole.labels[chosen])
