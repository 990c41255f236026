"""Apricot: the checks of its rounds, and its effect on digits."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from study.config.options import option
from study.data.split import Split
from study.errors import NotApplicable, RepairFailed
from study.methods.model_level.apricot import Apricot
from study.methods.model_level.finetune import Finetune
from study.parts.training.retraining import Retraining
from study.parts.training.submodels import SubModels
from study.parts.training.weight_shift import flat_weights
from study.problem.prediction import accuracy, right
from study.problem.problem import Problem
from study.runtime.fit import Curves
from study.storage.models import weights_hash
from tests.fitting import driven, finished, fitted
from tests.problems import build, digits_problem, digits_splits, problem_of

FEW: dict[str, Any] = {"num_sub": 2, "sub_epochs": 1}
RUINOUS = 50.0
"""A shift so long that it ruins the model."""


def result_of(problem: Problem, **options: Any) -> nn.Module:
    """The returned model, without the rules that judge it."""
    return driven(Apricot(**(FEW | options)), problem)[0].model


def published(name: str) -> dict[str, Any]:
    """The values of the authors' regime."""
    settings: Any = OmegaConf.to_container(option("method", f"published/{name}") or OmegaConf.create())
    return settings


def kept(curves: Curves) -> list[bool]:
    """Of each shift whether training went on from it."""
    return [bool(value) for _, value in curves.values["shift/kept"]]


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])
def test_no_round_changes_nothing(batch_norm: bool) -> None:
    problem = digits_problem(batch_norm)
    assert weights_hash(result_of(problem, max_rounds=0)) == weights_hash(problem.faulty)


def test_without_shift_and_retraining_nothing_changes_and_that_is_no_repair() -> None:
    problem = digits_problem()
    for rollback in (True, False):
        approach = Apricot(eta=0, retrain_epochs=0, rollback=rollback, max_rounds=3, **FEW)
        with pytest.raises(RepairFailed, match="no round beats") as failure:
            driven(approach, problem)
        assert failure.value.costs["steps"] == 0 and failure.value.costs["rounds"] == 3
        assert failure.value.costs["shifts"] > 0 and failure.value.costs["shift_validation_gain"] == 0


@pytest.mark.parametrize("options", [{}, {"schedule": "constant"}, {"max_steps": 70}])
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])
def test_without_shift_and_rollback_it_is_fine_tuning_bit_for_bit(options: dict[str, Any], batch_norm: bool) -> None:
    problem = digits_problem(batch_norm)
    ours = result_of(problem, eta=0, max_rounds=6, **options)
    same = {"steps" if name == "max_steps" else name: value for name, value in options.items()}
    control = driven(Finetune(data="train", epochs=6, select="validation", **same), problem)[0].model
    assert weights_hash(ours) == weights_hash(control) != weights_hash(problem.faulty)


def test_without_shift_it_is_training_that_goes_back_to_the_best_weights() -> None:
    problem = digits_problem()
    model = problem.copy().train()
    training = Retraining(problem, model, rounds=6, epochs=1, max_steps=10**6, lr=0.01)
    best, state = accuracy(model, problem.validation), copy.deepcopy(model.state_dict())
    went_back = 0
    for _ in range(6):
        model.load_state_dict(state)
        fitted(training)
        value = accuracy(model, problem.validation)
        went_back += value <= best
        if value > best:
            best, state = value, copy.deepcopy(model.state_dict())
    assert went_back
    model.load_state_dict(state)
    ours = result_of(problem, eta=0, retrain_lr=0.01, max_rounds=6, rollback=True)
    assert weights_hash(ours) == weights_hash(model) != weights_hash(problem.faulty)


def test_a_shift_that_does_harm_is_undone() -> None:
    problem = digits_problem()
    ruined, plain = (result_of(problem, eta=eta, max_rounds=4, rollback=True) for eta in (RUINOUS, 0))
    assert weights_hash(ruined) == weights_hash(plain)
    _, curves = driven(Apricot(eta=RUINOUS, max_rounds=4, rollback=True, **FEW), problem)
    assert kept(curves) and not any(kept(curves))
    assert all(gain < 0 for _, gain in curves.values["shift/validation_gain"])


def test_without_rollback_every_shift_stays() -> None:
    problem = digits_problem()
    repaired, curves = driven(Apricot(eta=0.05, max_rounds=4, **FEW), problem)
    assert kept(curves) and all(kept(curves))
    plain = result_of(problem, eta=0, max_rounds=4)
    assert weights_hash(repaired.model) != weights_hash(plain)


def two_classes(bias: float) -> nn.Linear:
    """Says class 1 for inputs above -`bias`."""
    model = nn.Linear(1, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0], [1.0]]))
        model.bias.copy_(torch.tensor([0.0, bias]))
    return model.eval()


def test_the_inputs_of_a_round_are_predicted_before_any_of_them_shifts() -> None:
    others: list[nn.Module] = [two_classes(1.0), two_classes(-1.0)]
    approach = Apricot(strategy="correct", eta=1.0)
    submodels = SubModels(others, torch.stack([flat_weights(model) for model in others]))
    inputs, labels = torch.tensor([[-0.3], [-0.3], [-0.9]]), torch.tensor([1, 1, 1])
    model = two_classes(0.0)
    assert approach.shift(model, submodels, Split("repair", inputs[:1], labels[:1]).tensors()) == 1
    assert right(model, Split("repair", inputs[:2], labels[:2])).all()  # one shift repairs the second input as well
    model = two_classes(0.0)
    assert approach.shift(model, submodels, Split("repair", inputs, labels).tensors()) == 3
    torch.testing.assert_close(model.bias.detach(), torch.tensor([0.0, 1 - 0.5**3]))  # but each has its own


def test_an_input_that_the_model_gets_right_shifts_nothing() -> None:
    others: list[nn.Module] = [two_classes(1.0), two_classes(-1.0)]
    submodels = SubModels(others, torch.stack([flat_weights(model) for model in others]))
    inputs, labels = torch.tensor([[0.5], [0.5], [-0.3]]), torch.tensor([1, 1, 1])  # the others differ on each
    model = two_classes(0.0)
    assert Apricot(eta=0.1).shift(model, submodels, Split("repair", inputs[:2], labels[:2]).tensors()) == 0
    assert torch.equal(flat_weights(model), flat_weights(two_classes(0.0)))
    assert Apricot(eta=0.1).shift(model, submodels, Split("repair", inputs, labels).tensors()) == 1


@pytest.mark.parametrize(("direction", "sign"), [("paper", 1), ("reference", -1)])
def test_the_direction_is_the_sign_of_a_shift(direction: Any, sign: int) -> None:
    others: list[nn.Module] = [two_classes(1.0), two_classes(-1.0)]
    submodels = SubModels(others, torch.stack([flat_weights(model) for model in others]))
    model, batch = two_classes(0.0), Split("repair", torch.tensor([[-0.3]]), torch.tensor([1])).tensors()
    assert Apricot(direction=direction, eta=0.1).shift(model, submodels, batch) == 1
    assert model.bias[1].sign() == sign  # the first of the others, whose bias is 1, is right


@pytest.mark.parametrize("rollback", [True, False])
def test_the_result_is_the_best_on_validation_with_the_buffers_of_that_moment(rollback: bool) -> None:
    problem = digits_problem(batch_norm=True)
    repaired, curves = driven(Apricot(rollback=rollback, retrain_lr=5e-3, **FEW), problem)
    gains = curves.values["shift/validation_gain"]
    before = {0: accuracy(problem.faulty, problem.validation), **dict(curves.values["validation/accuracy"])}
    seen = [*before.values(), *(before[step] + gain for step, gain in gains)]  # a shift starts where retraining ended
    best = accuracy(repaired.model, problem.validation)
    assert best == pytest.approx(max(seen), abs=1e-9) and best > accuracy(problem.faulty, problem.validation)
    faulty, buffers = dict(problem.faulty.named_buffers()), dict(repaired.model.named_buffers())
    assert any(not tensor.equal(faulty[name]) for name, tensor in buffers.items())


def known(split: Split) -> Tensor:
    """A number for each input of digits (64 levels from 0 to 16), by which it is known."""
    levels = (split.fetch(torch.arange(len(split))).inputs.flatten(1) * 16).round().long()
    return (levels * torch.randint(10**9, (64,), generator=torch.Generator().manual_seed(0))).sum(1)


@pytest.mark.parametrize("source", ["train", "repair"])
def test_candidates_of_one_split_are_all_of_it_in_random_order(source: Any) -> None:
    problem = digits_problem()
    whole = Apricot(failing_source=source, max_rounds=1000).candidates(problem)
    theirs = known({"train": problem.train, "repair": problem.repair_set}[source])
    assert not known(whole).equal(theirs)
    assert known(whole).sort().values.equal(theirs.sort().values)


def test_candidates_of_both_splits_take_turns() -> None:
    """However few rounds there are, half of the candidates are training inputs."""
    problem = digits_problem()
    whole = Apricot(max_rounds=1000).candidates(problem)
    assert len(whole) == len(problem.repair_set) + len(problem.train)
    turns = 2 * min(len(problem.repair_set), len(problem.train))
    for start, split in enumerate([problem.repair_set, problem.train]):
        ours, theirs = known(whole)[start:turns:2], known(split)
        assert torch.isin(ours, theirs).all() and len(ours.unique()) == len(ours)
    few = Apricot(max_rounds=2, fix_batch=30).candidates(problem)
    assert few.labels.equal(whole.labels[:60])


def test_the_published_regime_looks_at_training_inputs_at_a_constant_rate() -> None:
    regime = Apricot(**{name: value for name, value in published("apricot").items() if name != "_target_"})
    assert (regime.failing_source, regime.schedule, regime.retrain_batch, regime.retrain_lr) == (
        "train",
        "constant",
        20,
        2e-4,
    )
    approach = dataclasses.replace(regime, num_sub=2, sub_epochs=1, max_rounds=2, fix_batch=400)
    problem = digits_problem()
    train = set(known(problem.train).tolist())
    assert set(known(approach.candidates(problem)).tolist()) <= train
    repaired, curves = driven(approach, problem)
    assert repaired.costs["rounds"] == 2 and 0 < repaired.costs["shifts"] <= 2
    assert repaired.costs["steps"] == 2 * -(-len(problem.train) // 20)
    assert repaired.costs["shifting_inputs"] == sum(value for _, value in curves.values["shift/inputs"])


def test_ends_when_its_patience_does() -> None:
    approach = Apricot(retrain_lr=1e-12, schedule="constant", eta=0, patience=2, **FEW)
    with pytest.raises(RepairFailed) as failure:
        driven(approach, digits_problem())
    assert failure.value.costs["steps"] == 2 * 13


def test_needs_a_fresh_architecture_or_the_faulty_weights_to_start_from() -> None:
    problem = digits_problem()
    opaque = dataclasses.replace(problem, make_model=None)
    result = finished(Apricot(), opaque)
    assert result.outcome == "unadaptable" and "sub_init=faulty" in result.reason
    Apricot().check(problem.task)
    assert finished(Apricot(sub_init="faulty", **FEW), opaque).outcome == "repaired"
    with pytest.raises(NotApplicable, match="trainable"):
        Apricot().check(dataclasses.replace(problem.task, model=nn.Flatten()))


def with_repair_split(problem: Problem, indices: Tensor) -> Problem:
    """The problem with only these items in its repair split."""
    splits = digits_splits() | {"repair": problem.repair_set.subset(indices)}
    faulty: Any = problem.faulty
    return problem_of(faulty, splits)


def test_copes_with_one_failing_input_and_with_a_class_without() -> None:
    problem = digits_problem()
    one = with_repair_split(problem, torch.cat([problem.failing[:1], problem.passing]))
    assert len(one.failing) == 1
    assert finished(Apricot(sub_epochs=5), one).outcome in ("repaired", "failure")
    label = int(problem.repair_set.labels[problem.failing].mode().values)
    others = problem.failing[problem.repair_set.labels[problem.failing] != label]
    without = with_repair_split(problem, torch.cat([others, problem.passing]))
    assert finished(Apricot(sub_epochs=5), without).outcome == "repaired"


def test_copes_with_a_thousand_failing_inputs() -> None:
    splits = digits_splits()
    splits["repair"] = splits["repair"].subset(torch.arange(1200) % 400)
    problem = problem_of(build(), splits)
    assert len(problem.failing) >= 1000
    approach = Apricot(sub_epochs=5)
    result = finished(approach, problem)
    assert result.outcome == "repaired"
    assert result.costs["shifting_inputs"] > 0


def test_repairs_digits_and_tells_how_it_went() -> None:
    problem, test = digits_problem(), digits_splits()["test"]
    result = finished(Apricot(), problem)
    assert result.model is not None
    before, after = right(problem.faulty, test), right(result.model, test)
    assert (after & ~before).sum() > 0.2 * (~before).sum()
    assert (before & ~after).double().mean() < 0.02
    assert result.costs["sub_steps"] == 5 * 200
    assert result.costs["steps"] <= 12 * 13
    assert result.costs["shifts"] == len(result.curves["shift/validation_gain"]) > 0
    assert result.costs["shifts"] <= result.costs["rounds"] <= 30
    assert result.costs["shifting_inputs"] == sum(value for _, value in result.curves["shift/inputs"])
    measured = [step for step, _ in result.curves["validation/accuracy"]]
    assert measured == list(range(13, int(result.costs["steps"]) + 1, 13))
    axes = result.pictures["progress"].axes
    assert len(axes) == 3
    marked = sum(len(line.get_xdata()) for line in axes[2].lines[1:])
    assert marked == result.costs["shifts"]
