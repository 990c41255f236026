"""The suite: names, gains and directions, and every configuration of the metric group."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.functional import one_hot

from study.data.threat import ThreatModel
from study.metrics.accuracy import Accuracy
from study.metrics.attack_success import AttackSuccess
from study.metrics.base import Comparison
from study.metrics.description import Description
from study.metrics.measured import Measured, gain
from study.metrics.negative_flips import NegativeFlipRate
from study.metrics.repair_rate import RepairRate
from study.metrics.sampling import Sample
from study.metrics.suite import Suite

CONF = Path(__file__).parents[2] / "conf" / "metric"
COMPARISONS = {"accuracy", "repair_rate", "negative_flip_rate", "aaod"}
FURTHER = {
    "mcnemar_p", "repaired_inputs", "broken_inputs", "positive_flip_rate", "backward_trust_compatibility",
    "backward_error_compatibility", "churn", "confident_negative_flip_rate", "equal_opportunity_difference",
    "demographic_parity_difference", "worst_group_accuracy", "expected_calibration_error", "brier_score",
}  # fmt: skip
"""Those of `fast` that are left to the page."""
FAST = COMPARISONS | FURTHER
PGD = ("attack_success_rate", "pgd_accuracy", "robustness_negative_flip_rate")
ATTACKS = {f"{prefix}{name}" for prefix in ("", "margin_") for name in PGD}
RENAMED = {"renamed_accuracy", "renaming_flip_rate"}
"""Of programs alone."""
CORRUPTED = {
    "gaussian_noise_accuracy", "impulse_noise_accuracy", "gaussian_blur_accuracy", "contrast_accuracy",
    "brightness_accuracy",
}  # fmt: skip
FULL = {
    *(f"l2_margin_{name}" for name in PGD), "corruption_accuracy", *CORRUPTED, "inference_time", "inference_time_ratio",
    "doubtful_label_rate",
}  # fmt: skip


def composed(name: str, *overrides: str) -> Suite:
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return instantiate(compose(config_name=name, overrides=list(overrides)))


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("fast", FAST),
        ("all", FAST | ATTACKS | RENAMED),
        ("autoattack", FAST | ATTACKS | RENAMED | {"robust_accuracy"}),
        ("full", FAST | ATTACKS | RENAMED | FULL),
    ],
)
def test_configurations_instantiate(name: str, names: set[str]) -> None:
    descriptions = composed(name).descriptions
    assert set(descriptions) == names
    better_high = {"accuracy", "repair_rate", "robust_accuracy", "positive_flip_rate", "backward_trust_compatibility",
                   "backward_error_compatibility", "worst_group_accuracy", "repaired_inputs", "corruption_accuracy",
                   "pgd_accuracy", "margin_pgd_accuracy", "l2_margin_pgd_accuracy", "renamed_accuracy",
                   *CORRUPTED}  # fmt: skip
    assert {metric for metric, described in descriptions.items() if described.higher_is_better} == names & better_high
    undirected = {metric for metric, described in descriptions.items() if described.higher_is_better is None}
    assert undirected == names & {"churn", "mcnemar_p", "doubtful_label_rate"}
    shown = COMPARISONS | {"robust_accuracy", "corruption_accuracy"}
    shown |= {metric for metric in names if metric.endswith("attack_success_rate")}
    assert {metric for metric, described in descriptions.items() if described.summary} == names & shown
    assert all(described.meaning for described in descriptions.values())


def test_every_value_of_a_configuration_is_commented() -> None:
    for path in CONF.glob("*.yaml"):
        values = [line for line in path.read_text().splitlines() if line.startswith("    ") and "_target_:" not in line]
        assert all("#" in line for line in values), path


def test_configured_values_are_the_defaults_of_the_code() -> None:
    suite = composed("autoattack")
    further = composed("full")
    for name in ("corruption_accuracy", "inference_time"):
        assert vars(further.attacks[name]) == vars(type(further.attacks[name])())
    for configured in suite.attacks.values():
        built = type(configured)(loss=configured.loss) if isinstance(configured, AttackSuccess) else type(configured)()
        assert vars(configured) == vars(built)
    for metric in suite.comparisons.values():
        assert metric.describe() == type(metric)().describe()  # their settings are told there
    assert suite.resamples == Suite(comparisons={}, attacks={}).resamples


def test_values_can_be_overridden() -> None:
    suite = composed("autoattack", "attacks.autoattack.version=standard", "attacks.attack_success_rate.steps=7")
    assert [vars(metric)["steps"] for name, metric in suite.attacks.items() if name != "renaming"] == [7, 7, 100]
    l2 = composed("all", "attacks.attack_success_rate.norm=l2")
    assert [vars(metric)["norm"] for name, metric in l2.attacks.items() if name != "renaming"] == ["l2", "l2"]
    assert vars(suite.attacks["autoattack"])["version"] == "standard"


def test_composing_needs_no_autoattack() -> None:
    loaded = sys.modules.pop("pyautoattack", None)
    composed("autoattack")
    assert "pyautoattack" not in sys.modules
    if loaded is not None:
        sys.modules["pyautoattack"] = loaded


def test_names_and_gains() -> None:
    target = torch.zeros(10, dtype=torch.long)
    before = one_hot(torch.tensor([0] * 5 + [1] * 5), 2).float()
    after = one_hot(torch.tensor([1] * 2 + [0] * 8), 2).float()
    suite = Suite(comparisons={"a": Accuracy(), "r": RepairRate(), "n": NegativeFlipRate()}, attacks={})
    expected = {
        "before/accuracy": 0.5,
        "after/accuracy": 0.8,
        "gain/accuracy": 0.6,
        "after/repair_rate": 1.0,
        "after/negative_flip_rate": 0.2,
    }
    for _ in range(2):
        values = suite.measure(before, after, target, None).values
        assert {name: value for name, value in values.items() if name[:3] not in ("low", "hig")} == pytest.approx(
            expected
        )


def test_intervals_follow_from_the_seed_and_can_be_left_out() -> None:
    target, before, after = torch.zeros(10, dtype=torch.long), torch.rand(10, 2), torch.rand(10, 2)
    after[:5] = torch.tensor([1.0, 0.0])
    after[5:] = before[5:] = torch.tensor([0.0, 1.0])

    def ends(resamples: int, seed: int) -> dict[str, float]:
        suite = Suite(comparisons={"a": Accuracy(), "r": RepairRate()}, attacks={}, resamples=resamples)
        values = suite.measure(before, after, target, None, seed).values
        return {name: value for name, value in values.items() if name.startswith(("low/", "high/"))}

    assert ends(9, 0) == ends(9, 0) != ends(9, 1)
    assert ends(9, 0)["low/accuracy"] < 0.5 < ends(9, 0)["high/accuracy"]
    assert ends(0, 0) == {}
    with pytest.raises(ValueError, match="resamples is -1"):
        ends(-1, 0)


def test_no_gain_over_nothing() -> None:
    target = torch.zeros(4, dtype=torch.long)
    before, after = one_hot(target + 1, 2).float(), one_hot(target, 2).float()
    measured = Suite(comparisons={"accuracy": Accuracy()}, attacks={}).measure(before, after, target, None)
    assert measured.values == {"before/accuracy": 0.0, "after/accuracy": 1.0}


def test_gain_is_positive_where_better() -> None:
    assert gain(0.8, 0.6, higher_is_better=False) == pytest.approx(0.25)
    assert gain(0.8, 0.6, higher_is_better=True) == pytest.approx(-0.25)


class MeanAbove(nn.Module):
    """Class 1 where the mean of the input exceeds a threshold; a large scale saturates the softmax."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, inputs: Tensor) -> Tensor:
        score = (inputs.mean(1) - 0.5) * self.scale
        return torch.stack([-score, score], dim=1)


def test_masked_gradient_is_told() -> None:
    level = torch.linspace(0.305, 0.695, 40)
    sample = Sample(level[:, None].repeat(1, 4), (level > 0.5).long(), torch.ones(40, dtype=torch.bool))
    suite = composed("all", "attacks.attack_success_rate.relative_step=0.1")
    plain, saturated, threat = MeanAbove(1.0), MeanAbove(1e6), ThreatModel(radius=0.1)
    values = suite.attack(plain, saturated, sample, threat, 0).values
    assert values["before/attack_success_rate"] == values["after/margin_attack_success_rate"] == 0.5
    assert values["after/attack_success_rate"] < 0.2
    assert values["gain/attack_success_rate"] > 0.6
    assert Suite.gradient_masking(values)
    assert not Suite.gradient_masking(suite.attack(saturated, plain, sample, threat, 0).values)


def test_masking_takes_more_than_ten_points() -> None:
    rates = {"after/attack_success_rate": 0.7, "after/margin_attack_success_rate": 0.8}
    assert not Suite.gradient_masking(rates)
    assert Suite.gradient_masking({**rates, "after/margin_attack_success_rate": 0.802})
    assert not Suite.gradient_masking({"after/attack_success_rate": 0.7})


def test_tokens_are_not_attacked() -> None:
    tokens, target = torch.ones(4, 3, dtype=torch.long), torch.zeros(4, dtype=torch.long)
    suite, sample = composed("autoattack"), Sample(tokens, target, target == 0)
    measured = suite.attack(nn.Identity(), nn.Identity(), sample, ThreatModel(radius=0.1), 0)
    assert measured.values == {}
    assert measured.not_applicable.keys() == ATTACKS | RENAMED | {"robust_accuracy"}
    assert all(("integers" in why) != (name in RENAMED) for name, why in measured.not_applicable.items())


def test_attack_depends_on_the_seed_alone() -> None:
    level = torch.linspace(0.3, 0.7, 60)
    sample = Sample(level[:, None].repeat(1, 4), (level > 0.5).long(), torch.ones(60, dtype=torch.bool))
    suite = Suite(comparisons={}, attacks={"asr": AttackSuccess(samples=20, steps=2)})

    def rates(seed: int) -> dict[str, float]:
        torch.rand(3)
        return suite.attack(MeanAbove(1.0), MeanAbove(2.0), sample, ThreatModel(radius=0.1), seed).values

    assert rates(1) == rates(1)
    assert len({tuple(rates(seed).values()) for seed in range(5)}) > 1


def test_two_metrics_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="accuracy"):
        Suite(comparisons={"a": Accuracy(), "b": Accuracy()}, attacks={})


def test_without_a_threat_model_attacks_are_left_out_with_the_reason() -> None:
    sample = Sample(torch.rand(4, 3), torch.zeros(4, dtype=torch.long), torch.ones(4, dtype=torch.bool))
    suite = composed("autoattack", "attacks.attack_success_rate.epsilon=0.1")
    measured = suite.attack(MeanAbove(1.0), MeanAbove(1.0), sample, None, 0)
    assert measured.values == {}
    assert measured.descriptions.keys() == measured.not_applicable.keys() == ATTACKS | RENAMED | {"robust_accuracy"}
    assert all(("no threat model" in why) != (name in RENAMED) for name, why in measured.not_applicable.items())


def test_what_does_not_apply_has_a_reason_in_place_of_a_value() -> None:
    target = torch.tensor([0, 1])
    right = one_hot(target, 2).float()
    measured = composed("fast").measure(right, right, target, None)
    assert {"before/accuracy", "after/accuracy", "gain/accuracy", "after/negative_flip_rate"} <= measured.values.keys()
    groups = {"aaod", "equal_opportunity_difference", "demographic_parity_difference", "worst_group_accuracy"}
    assert measured.not_applicable == {
        "repair_rate": "the faulty model errs on no test input",
        "backward_error_compatibility": "the repaired model errs on no test input",
        "confident_negative_flip_rate": "the faulty model is not sure of any test input (0.9)",
    } | dict.fromkeys(groups, "the data set has no sensitive groups")
    assert measured.descriptions.keys() == FAST
    assert not any(name.startswith(("low/", "high/")) for name in measured.values)  # nothing that resamples could vary


def test_an_attack_states_how_it_was_run() -> None:
    level = torch.linspace(0.3, 0.7, 60)
    sample = Sample(level[:, None].repeat(1, 4), (level > 0.5).long(), level > 0.6)
    suite = Suite(comparisons={}, attacks={"asr": AttackSuccess(steps=2)})
    measured = suite.attack(MeanAbove(1.0), MeanAbove(2.0), sample, ThreatModel(radius=0.1), 0)
    described = measured.descriptions["attack_success_rate"]
    assert described.protocol == "PGD, cross-entropy loss, L-infinity radius 0.1, 2 steps, 15 inputs"
    assert replace(described, protocol="") == suite.descriptions["attack_success_rate"]


def test_measurements_are_merged_and_the_later_one_counts() -> None:
    first = Measured({"after/a": 1.0}, {"a": Description(label="a")}, {"b": "no"})
    second = Measured({"after/a": 2.0}, {"c": Description(label="c")}, {"d": "never"})
    merged = first | second
    assert merged.values == {"after/a": 2.0}
    assert list(merged.descriptions) == ["a", "c"]
    assert merged.not_applicable == {"b": "no", "d": "never"}


class Agreement(Comparison):
    """What a user might add: how often both models say the same."""

    name = "agreement"
    higher_is_better = True

    same: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_count("same")
        self.add_count("total")

    def update(self, before: Tensor, after: Tensor, target: Tensor, groups: Tensor | None = None) -> None:
        self.same += (before.argmax(1) == after.argmax(1)).sum()
        self.total += len(target)

    def compute(self) -> dict[str, Tensor]:
        return {"after": self.same / self.total}


def test_a_user_adds_a_metric_by_configuration() -> None:
    suite = composed("fast", f"+comparisons.mine._target_={__name__}.Agreement")
    target = torch.tensor([0, 1, 1, 0])
    before, after = one_hot(torch.tensor([0, 1, 0, 0]), 2).float(), one_hot(torch.tensor([0, 1, 1, 1]), 2).float()
    measured = suite.measure(before, after, target, None)
    assert measured.values["after/agreement"] == 0.5
    assert measured.descriptions["agreement"] == Description(label="agreement", higher_is_better=True)


class Wrong(Agreement):
    unit = "percent"


def test_a_metric_that_describes_itself_wrongly_is_refused_when_composed() -> None:
    with pytest.raises(InstantiationException, match="unit"):
        composed("fast", f"+comparisons.mine._target_={__name__}.Wrong")


def test_a_metric_of_no_direction_has_no_gain() -> None:
    class Shown(Accuracy):
        higher_is_better = None

    target = torch.tensor([0, 1])
    before, after = one_hot(torch.tensor([0, 0]), 2).float(), one_hot(target, 2).float()
    values = Suite(comparisons={"shown": Shown()}, attacks={}).measure(before, after, target).values
    assert values == {"before/accuracy": 0.5, "after/accuracy": 1.0}


def test_configurations_hold_no_unresolved_value() -> None:
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        config = compose(config_name="autoattack")
    assert not OmegaConf.missing_keys(config)
