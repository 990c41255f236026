"""The attack success rate compares both models on the same inputs from the same starts."""

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from study.metrics.attack_success import AttackSuccess

BOX = (0.0, 1.0)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Threshold(nn.Module):
    """Says class 1 where the mean of the input is above a threshold; the distance to it is the margin."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.first_batches: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.first_batches.append(inputs.detach().clone())
        score = inputs.mean(1) - self.threshold
        return torch.stack([-score, score], dim=1)


def grid(count: int = 100) -> tuple[Tensor, Tensor]:
    level = torch.linspace(0.005, 0.995, count)
    return level[:, None].expand(count, 3).clone(), (level > 0.5).long()


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
def test_counts_what_lies_within_the_radius(loss: Literal["cross_entropy", "margin"]) -> None:
    inputs, target = grid()
    metric = AttackSuccess(loss=loss, relative_step=0.1)
    everything = torch.ones(100, dtype=torch.bool)
    model = Threshold(0.5)
    values = metric.measure(model, model, inputs, target, everything, seeded(), box=BOX, epsilon=0.1)
    # 100 levels, 0.01 apart: ten within 0.1 of the threshold on either side.
    assert values == {"before": 0.2, "after": 0.2}


def test_attacks_only_what_both_classify_right_up_to_the_sample() -> None:
    inputs, target = grid()
    right = torch.arange(100) % 2 == 0
    before, after = Threshold(0.5), Threshold(0.5)
    AttackSuccess(samples=20, steps=1).measure(before, after, inputs, target, right, seeded(), box=BOX, epsilon=1e-6)
    attacked = before.first_batches[0]
    assert attacked.shape == (20, 3)
    chosen = torch.cdist(attacked, inputs).argmin(1)
    assert right[chosen].all() and len(chosen.unique()) == 20
    assert torch.equal(attacked, after.first_batches[0])


def test_does_not_apply_where_nothing_is_right() -> None:
    inputs, target = grid()
    nothing = torch.zeros(100, dtype=torch.bool)
    model = Threshold(0.5)
    assert AttackSuccess().measure(model, model, inputs, target, nothing, seeded(), box=BOX, epsilon=0.1) == {}


def test_the_loss_names_the_metric() -> None:
    names = [AttackSuccess(loss=loss).name for loss in ("cross_entropy", "margin")]
    assert names == ["attack_success_rate", "margin_attack_success_rate"]
