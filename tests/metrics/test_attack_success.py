"""An attack compares both models on the same inputs from the same starts."""

from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from study.data.threat import ThreatModel
from study.errors import NotApplicable
from study.metrics.attack_success import AttackSuccess
from study.metrics.sampling import Sample, draw_sample
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


def rates(metric: AttackSuccess, *arguments: Any) -> dict[str, float]:
    """The attack success rate "before" and "after"."""
    values = metric.measured(*arguments).values
    return {when: values[f"{when}/{metric.prefix}attack_success_rate"] for when in ("before", "after")}


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
def test_counts_what_lies_within_the_radius(loss: Literal["cross_entropy", "margin"]) -> None:
    inputs, target = grid()
    metric = AttackSuccess(loss=loss, relative_step=0.1)
    sample = Sample(inputs, target, torch.ones(100, dtype=torch.bool))
    model = Threshold(0.5)
    values = rates(metric, model, model, sample, ThreatModel(radius=0.1), seeded())
    # 100 levels, 0.01 apart: ten within 0.1 of the threshold on either side.
    assert values == {"before": 0.2, "after": 0.2}


def test_attacks_what_both_classify_right_up_to_the_sample() -> None:
    inputs, target = grid()
    right = torch.arange(100) % 2 == 0
    before, after = Threshold(0.5), Threshold(0.5)
    sample, threat = Sample(inputs, target, right), ThreatModel(radius=1e-6)
    AttackSuccess(samples=20, steps=1).measured(before, after, sample, threat, seeded())
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
        AttackSuccess().measured(model, model, sample, ThreatModel(radius=0.1), seeded())


def test_only_the_columns_of_the_threat_model_move() -> None:
    inputs, target = grid()
    sample = Sample(inputs, target, torch.ones(100, dtype=torch.bool))
    model = Threshold(0.5)
    threat = ThreatModel(radius=0.1, columns=(2,))
    values = rates(AttackSuccess(relative_step=0.1), model, model, sample, threat, seeded())
    moved = torch.cat(model.first_batches)
    # The attack moves the third column by at most 0.1 and so the mean by 0.1 / 3: three levels on either side.
    assert values == {"before": 0.06, "after": 0.06}
    assert torch.isin(moved[:, :2], inputs).all()


def flipped(count: int = 100) -> tuple[Sample, Threshold, Threshold]:
    """Labels that change at 0.5, a model that errs from 0.5 to 0.6 and one that errs from 0.32 to 0.5."""
    inputs, target = grid(count)
    before, after = Threshold(0.6), Threshold(0.32)
    right = (before(inputs).argmax(1) == target) & (after(inputs).argmax(1) == target)
    return Sample(inputs, target, right), before, after


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
@pytest.mark.parametrize("samples", [500, 30])
def test_robustness_negative_flips_are_a_literal_count(loss: Literal["cross_entropy", "margin"], samples: int) -> None:
    sample, before, after = flipped()
    metric = AttackSuccess(loss=loss, relative_step=0.1, samples=samples)
    measured = metric.measured(before, after, sample, ThreatModel(radius=0.1), seeded())
    values = {name.replace(metric.prefix, ""): value for name, value in measured.values.items()}
    right = int(sample.right.sum())
    assert right == 72
    attacked = draw_sample(sample.right.nonzero()[:, 0], samples, seeded())
    beside = {500: 28, 30: 12}[samples]  # 28 others, and of 30 in 72 as large a share
    text = f"PGD, {loss.replace('_', '-')} loss, L-infinity radius 0.1, 40 steps, "
    protocols = {name: described.protocol for name, described in measured.descriptions.items()}
    assert protocols == {
        f"{metric.prefix}attack_success_rate": f"{text}{len(attacked)} inputs",
        f"{metric.prefix}pgd_accuracy": f"{text}{len(attacked) + beside} inputs",
        f"{metric.prefix}robustness_negative_flip_rate": f"{text}{len(attacked) + beside} inputs",
    }
    if samples == 500:  # every input was tried: count them
        level, target = sample.inputs[:, 0], sample.target

        def robust(threshold: float) -> Tensor:
            return ((level > threshold).long() == target) & ((level - threshold).abs() > 0.1)

        old, new = robust(0.6), robust(0.32)
        assert values["before/pgd_accuracy"] == old.double().mean() == 0.8
        assert values["after/pgd_accuracy"] == new.double().mean() == 0.72
        assert values["after/robustness_negative_flip_rate"] == (old & ~new).double().mean() == 0.28
        assert values["before/attack_success_rate"] == (~old)[sample.right].double().mean()
        assert values["after/attack_success_rate"] == (~new)[sample.right].double().mean()
    else:
        assert values["after/robustness_negative_flip_rate"] == pytest.approx(0.28, abs=0.15)


def test_only_what_a_model_gets_right_is_attacked() -> None:
    sample, before, after = flipped()
    metric = AttackSuccess(steps=1, relative_step=0.1)
    for model in (before, after):
        model.first_batches.clear()
    metric.measured(before, after, sample, ThreatModel(radius=1e-6), seeded())
    # A step and the look at its end on what both get right; a look at the 28 others; the same on those of them that
    # this model gets right.
    assert [len(batch) for batch in before.first_batches] == [72, 72, 28, 18, 18]
    assert [len(batch) for batch in after.first_batches] == [72, 72, 28, 10, 10]


def test_the_sample_of_the_success_rate_is_that_without_the_others() -> None:
    sample, before, after = flipped()
    chosen = sample.right
    alone = Sample(sample.inputs[chosen], sample.target[chosen], sample.right[chosen])
    metric, threat = AttackSuccess(steps=5, samples=30), ThreatModel(radius=0.1)
    assert rates(metric, before, after, sample, threat, seeded()) == rates(
        metric, before, after, alone, threat, seeded()
    )


def test_in_l2_names_labels_and_protocol_say_so() -> None:
    sample, before, after = flipped()
    metric = AttackSuccess(norm="l2", loss="margin", steps=60, epsilon=0.2, relative_step=0.2)
    measured = metric.measured(before, after, sample, ThreatModel(radius=0.1), seeded())
    described = measured.descriptions["l2_margin_attack_success_rate"]
    assert described.label == "L2 margin ASR"
    assert described.protocol == "PGD, margin loss, L2 radius 0.2, 60 steps, 72 inputs"
    # The mean moves by radius / sqrt(3) along the diagonal: as far as an L-infinity attack of that radius gets.
    linf = AttackSuccess(loss="margin", relative_step=0.2, epsilon=0.2 / 3**0.5)
    threat = ThreatModel(radius=0.1)
    expected = rates(linf, before, after, sample, threat, seeded())
    assert expected["before"] > 0.1
    assert rates(metric, before, after, sample, threat, seeded()) == pytest.approx(expected, abs=0.001)


def test_loss_and_norm_name_the_figures() -> None:
    names = [list(AttackSuccess(loss=loss).descriptions()) for loss in ("cross_entropy", "margin")]
    assert names == [
        [f"{prefix}{name}" for name in ("attack_success_rate", "pgd_accuracy", "robustness_negative_flip_rate")]
        for prefix in ("", "margin_")
    ]


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
    metric.measured(Threshold(0.5), Threshold(0.5), sample, ThreatModel(radius=radius), seeded())
    (progress,) = shown
    assert progress.title == "attack (margin ASR)"
    assert progress.planned == 2 * 4 * metric.steps  # type: ignore[attr-defined]
    assert progress.done == progress.total
    assert (progress.total < progress.planned) == (radius == 0.9)  # type: ignore[attr-defined,operator]
