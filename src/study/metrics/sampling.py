"""The inputs that a costly metric measures in place of the whole test split: a seeded sample."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from study.data.split import Change, Split, narrowed
from study.errors import NotApplicable
from study.runtime.randomness import stream

FROM_FILES = 2000
"""Inputs to choose from at most, where they lie in files."""


@dataclass(frozen=True)
class Sample:
    """Inputs that a metric may choose from.

    inputs: [N, ...], in their natural range; target: [N] long, the labels; right: [N] bool, the inputs that both
    models classify right; variants: ways to change the inputs, see `Split`; the changed ones lie on any device.
    """

    inputs: Tensor
    target: Tensor
    right: Tensor
    variants: Mapping[str, Change] = field(default_factory=dict)

    def at(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs and the labels at `places` [K] long."""
        return self.inputs[places], self.target[places]

    def drawn(self, size: int, generator: torch.Generator) -> Tensor:
        """The places of up to `size` inputs, as `draw_sample` has it; raises NotApplicable where there are none."""
        if len(self.target) == 0:
            raise NotApplicable("there are no test inputs")
        return draw_sample(torch.arange(len(self.target), device=self.target.device), size, generator)


def sample_of(test: Split, before: Tensor, after: Tensor, seed: int) -> Sample:
    """The inputs that attacks choose from: the whole test split, or a seeded part of one that lies in files.

    Args:
        test: [N] items.
        before, after: [N, C] logits of the faulty and the repaired model, on the same items.
        seed: of the job.
    """
    right = (before.argmax(1) == test.labels) & (after.argmax(1) == test.labels)
    if isinstance(test.inputs, Tensor):
        batch = test.tensors()
    else:
        batch = test.fetch(torch.randperm(len(test), generator=stream(seed, "attack", "files"))[:FROM_FILES])
    variants = {name: narrowed(change, batch.indices) for name, change in test.variants.items()}
    return Sample(batch.inputs, batch.labels, right[batch.indices], variants)


def draw_sample(candidates: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Up to `size` of the candidates, without repetition, in random order.

    Args:
        candidates: [K] long, indices.
        size: how many to draw at most.
        generator: on the CPU.

    Returns:
        [min(K, size)] long, on the device of the candidates.

    >>> draw_sample(torch.tensor([3, 5]), 9, torch.Generator().manual_seed(0)).sort().values
    tensor([3, 5])
    """
    order = torch.randperm(len(candidates), generator=generator)[:size]
    return candidates[order.to(candidates.device)]
