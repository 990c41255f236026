"""The attack success rate compares both models on the same inputs from the same starts."""

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from study.data.threat import ThreatModel
from study.errors import NotApplicable
from study.metrics.attack_success import AttackSuccess
from study.metrics.sampling import Sample
from study.runtime.progress import Progress


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
    sample = Sample(inputs, target, torch.ones(100, dtype=torch.bool))
    model = Threshold(0.5)
    values = metric.measure(model, model, sample, ThreatModel(radius=0.1), seeded())
    # 100 levels, 0.01 apart: ten within 0.1 of the threshold on either side.
    assert values == {"before": 0.2, "after": 0.2}


def test_attacks_only_what_both_classify_right_up_to_the_sample() -> None:
    inputs, target = grid()
    right = torch.arange(100) % 2 == 0
    before, after = Threshold(0.5), Threshold(0.5)
    sample, threat = Sample(inputs, target, right), ThreatModel(radius=1e-6)
    AttackSuccess(samples=20, steps=1).measure(before, after, sample, threat, seeded())
    attacked = before.first_batches[0]
    assert attacked.shape == (20, 3)
    chosen = torch.cdist(attacked, inputs).argmin(1)
    assert right[chosen].all() and len(chosen.unique()) == 20
    assert torch.equal(attacked, after.first_batches[0])


def test_does_not_apply_where_nothing_is_right() -> None:
    inputs, target = grid()
    sample = Sample(inputs, target, torch.zeros(100, dtype=torch.bool))
    model = Threshold(0.5)
    with pytest.raises(NotApplicable, match="no input that both models get right"):
        AttackSuccess().measure(model, model, sample, ThreatModel(radius=0.1), seeded())


def test_only_the_columns_of_the_threat_model_move() -> None:
    inputs, target = grid()
    sample = Sample(inputs, target, torch.ones(100, dtype=torch.bool))
    model = Threshold(0.5)
    threat = ThreatModel(radius=0.1, columns=(2,))
    values = AttackSuccess(relative_step=0.1).measure(model, model, sample, threat, seeded())
    moved = torch.cat(model.first_batches)
    # The attack moves the third column by at most 0.1 and so the mean by 0.1 / 3: three levels on either side.
    assert values == {"before": 0.06, "after": 0.06}
    assert torch.isin(moved[:, :2], inputs).all()


def test_the_protocol_is_that_of_the_measurement() -> None:
    inputs, target = grid()
    sample, threat = Sample(inputs, target, torch.arange(100) < 30), ThreatModel(radius=0.1)
    usual = "PGD, cross-entropy loss, L-infinity radius 0.1, 40 steps, 30 inputs"
    assert AttackSuccess().protocol(sample, threat) == usual
    own = AttackSuccess(loss="margin", epsilon=0.25, steps=7, samples=10)
    assert own.protocol(sample, threat) == "PGD, margin loss, L-infinity radius 0.25, 7 steps, 10 inputs"


def test_the_loss_names_the_metric() -> None:
    names = [AttackSuccess(loss=loss).name for loss in ("cross_entropy", "margin")]
    assert names == ["attack_success_rate", "margin_attack_success_rate"]


@pytest.mark.parametrize("radius", [0.001, 0.1, 0.9])
def test_progress_ends_at_its_total_whatever_is_fooled(radius: float, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Progress] = []

    class Recorded(Progress):
        def __enter__(self) -> Progress:
            shown.append(self)
            self.planned = self.total
            return self

    monkeypatch.setattr("study.metrics.attack_success.Progress", Recorded)
    inputs, target = grid()
    metric = AttackSuccess(loss="margin", relative_step=0.1, batch_size=30)
    sample = Sample(inputs, target, torch.ones(100, dtype=torch.bool))
    metric.measure(Threshold(0.5), Threshold(0.5), sample, ThreatModel(radius=radius), seeded())
    (progress,) = shown
    assert progress.title == "attack (margin ASR)"
    assert progress.planned == 2 * 4 * metric.steps  # type: ignore[attr-defined]
    assert progress.done == progress.total
    assert (progress.total < progress.planned) == (radius == 0.9)  # type: ignore[attr-defined,operator]
