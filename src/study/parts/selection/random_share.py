"""A random share of a split."""

import torch

from study.data.split import Split


def random_share(split: Split, fraction: float, generator: torch.Generator) -> Split:
    """At least one item of `split`, a random `fraction` of them in their order; with 1 the split itself."""
    if fraction == 1:
        return split
    order = torch.randperm(len(split), generator=generator)
    return split.subset(order[: max(1, round(fraction * len(split)))].sort().values)
