"""Model probes: small classifiers that tell what each block of a frozen network already knows of the class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch, Split
from study.parts.network.blocks import Block, readings
from study.parts.network.structure import Structure
from study.parts.training.base import Training
from study.runtime.best_state import BestState
from study.runtime.randomness import forked

BATCH = 128
EVALUATION_BATCH = 1000


def make_probe(shape: torch.Size, num_classes: int, early: bool) -> nn.Module:
    """A probe of a tensor of this shape (without the batch), newly initialised from torch's global state.

    A vector, or a map of one position: one Linear layer. A map [c, h, w]: a 1x1 convolution, then four 3x3 convolutions
    up to 4 c channels, the first two with stride 2 (`early`), or two with c channels; mean over the positions; Linear.
    """
    width = shape[0]
    if len(shape) == 1 or shape[1:].numel() == 1:
        return nn.Sequential(nn.Flatten(), nn.Linear(shape.numel(), num_classes))
    layers: list[nn.Module] = [nn.Conv2d(width, width, 1), *_activated(width)]
    if early:
        wide, wider = 2 * width, 4 * width
        layers += [nn.Conv2d(width, wide, 3, 2, 1), nn.Conv2d(wide, wide, 3, 2, 1), *_activated(wide)]
        layers += [nn.Conv2d(wide, wider, 3, 1, 1), nn.Conv2d(wider, wider, 3, 1, 1), *_activated(wider)]
        width = wider
    else:
        for _ in range(2):
            layers += [nn.Conv2d(width, width, 3, 1, 1), *_activated(width)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))


def _activated(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU()]


class ProbeTraining(Training):
    """Trains the probes of several blocks at the same time, on features that were computed once.

    Adam works by element, so that one on the sum of the losses is one for each probe. Each probe keeps the epoch of its
    best training accuracy, measured in eval mode at the epoch's end.

    Attributes:
        probes: a ModuleList.

    Args:
        features: of each block, [N, ...], N >= 2.
        labels: [N] int64.
        early: of each block, whether it is an early spatial stage.
        seed: of the initialisation and the order of the batches.
    """

    def __init__(
        self,
        features: Sequence[Tensor],
        labels: Tensor,
        early: Sequence[bool],
        *,
        num_classes: int,
        epochs: int,
        lr: float,
        seed: int,
    ) -> None:
        with forked(seed, "probes"):
            made = [make_probe(f.shape[1:], num_classes, e) for f, e in zip(features, early, strict=True)]
        probes = nn.ModuleList(made).to(labels.device)
        # The batches carry numbers of rows: the inputs themselves are not needed any more.
        rows = Split("probes", torch.arange(len(labels), device=labels.device), labels)
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(probes.parameters(), lr, fused=True)
        super().__init__(probes, rows.batches(BATCH, generator), optimizer, max_epochs=epochs)
        self.probes, self.features, self.labels = probes, list(features), labels
        self.bests = [BestState() for _ in made]

    def loss(self, batch: Batch) -> Tensor:
        """Sum of the probes' cross-entropies."""
        losses = [
            functional.cross_entropy(probe(values[batch.inputs]), batch.labels)
            for probe, values in zip(self.probes, self.features, strict=True)
        ]
        return torch.stack(losses).sum()

    def on_train_epoch_end(self) -> None:
        self.probes.eval()
        with torch.no_grad():
            rights = [
                (answers(probe, values).argmax(1) == self.labels).double().mean()
                for probe, values in zip(self.probes, self.features, strict=True)
            ]
        self.probes.train()
        accuracies = torch.stack(rights).tolist()
        for best, accuracy, probe in zip(self.bests, accuracies, self.probes, strict=True):
            best.offer(accuracy, probe)
        self.record({f"probes/{number}/accuracy": value for number, value in enumerate(accuracies)}, self.steps_taken)

    def on_fit_end(self) -> None:
        for best, probe in zip(self.bests, self.probes, strict=True):
            best.restore(probe)
        super().on_fit_end()


def probe_answers(
    structure: Structure, blocks: Sequence[Block], probes: Iterable[nn.Module], split: Split
) -> list[Tensor]:
    """Logits [N, C] of the probe of each block on a split, without gradient."""
    read = readings(structure, blocks, split)
    return [answers(probe, features) for probe, features in zip(probes, read, strict=True)]


def answers(probe: nn.Module, features: Tensor) -> Tensor:
    """Logits [N, C] of a probe on features [N, ...], without gradient."""
    with torch.no_grad():
        return torch.cat([probe(part) for part in features.split(EVALUATION_BATCH)])
