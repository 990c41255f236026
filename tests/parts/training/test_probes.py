from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.parts.training.probes import ProbeTraining, answers, make_probe
from tests.fitting import fitted

LABELS = torch.arange(150) % 4
FEATURES = [
    torch.rand(150, 3, 4, 4, generator=torch.Generator().manual_seed(bit)) + (LABELS >> bit & 1).view(-1, 1, 1, 1)
    for bit in range(2)
]
VECTORS = torch.randn(150, 5, generator=torch.Generator().manual_seed(2))


def trained(features: list[Tensor], early: list[bool], epochs: int = 8) -> ProbeTraining:
    training = ProbeTraining(features, LABELS, early, num_classes=4, epochs=epochs, lr=0.01, seed=3)
    fitted(training)
    return training


@pytest.mark.parametrize(
    ("shape", "early", "convolutions"),
    [((5,), False, 0), ((6, 1, 1), True, 0), ((6, 8, 8), True, 5), ((6, 3, 3), True, 5), ((6, 4, 4), False, 3)],
)
def test_a_probe_fits_its_block(shape: tuple[int, ...], early: bool, convolutions: int) -> None:
    probe = make_probe(torch.Size(shape), 10, early).eval()
    assert probe(torch.rand(2, *shape)).shape == (2, 10)
    assert sum(isinstance(layer, nn.Conv2d) for layer in probe) == convolutions
    width = 4 * shape[0] if convolutions == 5 else shape[0]
    assert isinstance(probe[-1], nn.Linear) and probe[-1].in_features == width


def test_together_they_become_what_each_becomes_alone() -> None:
    """Adam works by element. The probe of a vector is linear: its init is drawn first in both cases."""
    both = trained([VECTORS, FEATURES[0]], [False, False])
    alone = trained([VECTORS], [False])
    torch.testing.assert_close(both.probes[0].state_dict(), alone.probes[0].state_dict())


def test_they_learn_and_keep_their_best_epoch() -> None:
    training = trained([VECTORS, *FEATURES], [False, True, False], epochs=12)
    assert not any(module.training for module in training.probes.modules())
    right = [
        (answers(probe, values).argmax(1) == LABELS).double().mean().item()
        for probe, values in zip(training.probes, training.features, strict=True)
    ]
    assert right == [best.score for best in training.bests]
    assert right[1] > 0.45 and right[2] > 0.45  # each sees one of the label's two bits
    loss = functional.cross_entropy(answers(training.probes[1], FEATURES[0]), LABELS)
    assert loss < functional.cross_entropy(torch.zeros(150, 4), LABELS)


def test_the_seed_decides() -> None:
    first, again = (trained([VECTORS], [False], epochs=1).probes.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
