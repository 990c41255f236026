"""The choice among patches; how it is counted on a real network is tested with REASSURE."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from study.parts.selection.harmless_patches import harmless_patches


class Patches:
    """Stands for a patch network: how many patches there are, and their sharpness."""

    def __init__(self, count: int, gamma: float = 0.0) -> None:
        self.patterns, self.gamma = torch.zeros(count, 1), torch.tensor(gamma)

    def only(self, kept: Tensor) -> Patches:
        return Patches(int(kept.sum()), float(self.gamma))


class Counts:
    """Stands for a split of 10 items, 6 of them right before; with patches of a gamma so many are fixed and broken."""

    def __init__(self, flips: dict[float, tuple[int, int]], gains: dict[float, list[int]]) -> None:
        self.labels, self.flips, self.gains = torch.zeros(10), flips, gains

    def right_before(self) -> Tensor:
        return torch.arange(10) < 6

    def right(self, network: Patches) -> Tensor:
        fixed, broken = self.flips[round(float(network.gamma), 3)]
        return (torch.arange(10) >= broken) & (torch.arange(10) < 6 + fixed)

    def gain_alone(self, network: Patches) -> Tensor:
        return torch.tensor(self.gains[round(float(network.gamma), 3)])


def chosen(
    validation: dict[float, tuple[int, int]], targets: dict[float, tuple[int, int]] | None = None
) -> Patches | None:
    alone = {gamma: [0, 1, -1] for gamma in validation}
    on_targets = Counts(targets or dict.fromkeys(validation, (3, 6)), {})
    search = harmless_patches(Patches(3), sorted(validation), on_targets, Counts(validation, alone))  # type: ignore[arg-type]
    while True:
        try:
            next(search)
        except StopIteration as end:
            kept: Patches | None = end.value
            return kept


def test_the_softest_of_those_that_fix_most_without_the_patches_that_do_harm() -> None:
    kept = chosen({0.1: (4, 5), 0.2: (3, 3), 0.4: (3, 0), 0.8: (2, 0)})
    assert kept is not None
    assert (len(kept.patterns), float(kept.gamma)) == (2, pytest.approx(0.2))


def test_as_many_right_as_before_is_enough_and_fewer_are_not() -> None:
    assert chosen({0.1: (2, 2)}) is not None
    assert chosen({0.1: (2, 3), 0.2: (0, 0)}) is None


def test_a_gamma_that_fixes_no_target_does_not_count() -> None:
    none = (0, 6)
    kept = chosen({0.1: (1, 0), 0.2: (3, 0)}, targets={0.1: (1, 6), 0.2: none})
    assert kept is not None and float(kept.gamma) == pytest.approx(0.1)
    assert chosen({0.1: (1, 0)}, targets={0.1: none}) is None
