"""Joint repair: the checks of its parts, and its effect on digits with and without groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch, Split
from study.errors import NotApplicable
from study.methods.model_level.finetune import Finetune
from study.methods.model_level.joint import Joint, ceilings
from study.metrics.fairness import average_absolute_odds_difference
from study.metrics.robustness import LinfPGD
from study.models.classifier import Classifier
from study.models.votes import SoftVote, UnanimousVote
from study.problem.prediction import accuracy, predict, right
from study.problem.problem import Problem
from study.repair.approach import Approach
from study.repair.run import repair
from study.runtime.fit import Curves, fit
from study.runtime.randomness import stream
from study.storage.models import weights_hash
from tests.problems import HARDWARE, build, digits_problem, digits_splits, problem_of

OFF: dict[str, Any] = {"adv": 0, "hinge": 0, "fair": 0, "bal": 0, "aug": 0, "extra_failing": 0}


def fitted(approach: Approach, problem: Problem) -> Any:
    """The approach after its training, without the rules that judge the result."""
    for stage in approach.stages(problem):
        stage.begin(problem)
        fit(stage, HARDWARE, loader=stage.batches(), curves=Curves(), epochs=stage.epochs, steps=stage.steps)
    return approach


def begun(problem: Problem | None = None, **options: Any) -> Joint:
    approach = Joint(**options)
    approach.begin(problem or digits_problem())
    return approach


def first_batch(approach: Joint) -> Batch:
    return next(iter(approach.batches()))


class Once:
    """A loader of one batch (Lightning would take a list of tuples for a collection of loaders)."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __iter__(self) -> Iterator[Batch]:
        return iter([self.batch])


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def test_with_everything_off_it_is_fine_tuning_bit_for_bit() -> None:
    problem = digits_problem()
    ours = fitted(Joint(epochs=2, batch_size=64, **OFF), problem).model
    control = fitted(Finetune(epochs=2), problem).model
    assert weights_hash(ours) == weights_hash(control) != weights_hash(problem.faulty)


def test_no_epoch_changes_nothing() -> None:
    problem = digits_problem()
    assert weights_hash(fitted(Joint(epochs=0), problem).repaired()) == weights_hash(problem.faulty)


def test_old_model_and_its_losses_stay_as_they_are() -> None:
    problem = digits_problem()
    approach = begun(epochs=1)
    before, remembered = weights_hash(problem.faulty), approach._ceilings.clone()
    fit(approach, HARDWARE, loader=approach.batches(), curves=Curves(), epochs=1)
    assert weights_hash(problem.faulty) == before
    assert approach._ceilings.equal(remembered)
    theirs = {tensor.data_ptr() for tensor in problem.faulty.state_dict().values()}
    assert theirs.isdisjoint(tensor.data_ptr() for tensor in approach.model.state_dict().values())


def test_the_same_seed_gives_the_same_weights() -> None:
    runs = [weights_hash(fitted(Joint(epochs=1), digits_problem()).model) for _ in range(2)]
    assert runs[0] == runs[1]


def test_the_hinge_is_silent_where_the_old_model_was_wrong_or_worse() -> None:
    approach = begun(aug=0, hinge_live=False, extra_failing=8)
    batch = first_batch(approach)
    limits = approach._ceilings[batch.indices]
    assert limits.isinf().any()
    for losses, expected in (
        (limits.nan_to_num(posinf=5.0) - 0.1, torch.zeros_like(limits)),
        (limits.nan_to_num(posinf=5.0) + 0.1, limits.isfinite() / len(limits)),
    ):
        losses = losses.detach().requires_grad_()
        hinge = approach.hinge_loss(losses, batch)
        (gradient,) = torch.autograd.grad(hinge, losses)
        torch.testing.assert_close(gradient, expected.float())
        torch.testing.assert_close(hinge, (0.1 * expected).sum())


@pytest.mark.parametrize("live", [False, True])
def test_the_hinge_is_zero_at_the_old_model(live: bool) -> None:
    approach = begun(aug=0.5, hinge_live=live)
    approach.model.eval()
    batch = approach.distorted(first_batch(approach))
    losses = functional.cross_entropy(approach.model(batch.inputs), batch.labels, reduction="none")
    assert approach.hinge_loss(losses, batch).item() == pytest.approx(0, abs=1e-6)


def test_the_old_model_is_right_below_its_ceiling() -> None:
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0])
    assert ceilings(logits, labels).tolist() == [pytest.approx(0.1269, abs=1e-4), torch.inf]


def test_only_the_first_items_are_distorted() -> None:
    approach = begun(aug=0.25)
    batch = first_batch(approach)
    clean = batch.inputs.clone()
    changed = (approach.distorted(batch).inputs != clean).flatten(1).any(1)
    assert changed.tolist() == [True] * 16 + [False] * 50


def test_adversarial_examples_follow_the_gradient_within_radius_and_box() -> None:
    approach = begun(adv=2, adv_share=0.5, epsilon=0.07)
    batch = approach.distorted(first_batch(approach))
    plain = begun(adv=0)
    plain.model.load_state_dict(approach.model.state_dict())
    inputs = batch.inputs.clone().requires_grad_()
    (expected,) = torch.autograd.grad(plain.loss(batch._replace(inputs=inputs)), inputs)
    approach.loss(batch).backward()
    assert approach._attacked.grad is not None
    torch.testing.assert_close(approach._attacked.grad, expected[-33:])
    seen: list[Tensor] = []
    approach.model.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    approach.adversarial_loss(batch)
    clean = batch.inputs.detach()[-33:]
    assert seen[0].equal((clean + 0.07 * approach._attacked.grad.sign()).clamp(0, 1))
    assert seen[0].min() >= 0
    assert seen[0].max() <= 1
    assert (seen[0] - clean).abs().max() <= 0.07 + 1e-6
    assert (seen[0] != clean).any()


def test_a_step_adds_the_gradients_of_both_parts() -> None:
    approach = begun(adv=1.5, adv_share=0.5)
    batch = first_batch(approach)
    approach.loss(batch).backward()
    first = gradients(approach.model)
    approach.model.zero_grad()
    approach.adversarial_loss(batch).backward()
    second = gradients(approach.model)
    approach.model.zero_grad()
    steps: list[list[Tensor]] = []
    loader = Once(batch)
    approach.settings = dataclasses.replace(approach.settings, aug=0.0)
    approach.on_train_batch_end = lambda *_: steps.append(gradients(approach.model))  # type: ignore[method-assign]
    fit(approach, HARDWARE, loader=loader, curves=Curves(), epochs=1)
    for total, one, other in zip(steps[0], first, second, strict=True):
        torch.testing.assert_close(total, one + other, atol=1e-6, rtol=1e-4)


def test_without_the_adversarial_part_no_input_gradient_is_computed() -> None:
    approach = begun(adv=0)
    batch = first_batch(approach)
    fit(approach, HARDWARE, loader=Once(batch), curves=Curves(), epochs=1)
    assert not approach._attacked.requires_grad
    assert batch.inputs.grad is None


def test_appended_items_are_failing_repair_inputs() -> None:
    problem = digits_problem()
    appended = torch.cat([batch.indices[-2:] for batch in begun().batches()])
    assert set(appended.tolist()) <= set((problem.failing + len(problem.train)).tolist())
    nothing_fails = dataclasses.replace(
        problem, failing=problem.failing[:0], passing=torch.arange(len(problem.repair_set))
    )
    assert len(first_batch(begun(nothing_fails)).labels) == 64


def test_repairs_digits_and_makes_them_more_robust() -> None:
    problem, test = digits_problem(), digits_splits()["test"]
    result = repair(Joint(epochs=8), problem, HARDWARE)
    assert result.outcome == "repaired"
    assert result.model is not None
    before, after = right(problem.faulty, test), right(result.model, test)
    repaired, flips = (after & ~before).sum() / (~before).sum(), (before & ~after).double().mean()
    gain = after.double().mean() - before.double().mean()
    assert gain.item() == pytest.approx((repaired * (~before).double().mean() - flips).item(), abs=1e-6)
    assert repaired > 0.3
    assert flips < 0.02
    attack, both = LinfPGD(loss="margin", epsilon=0.1, steps=10), before & after
    old, new = (
        attack.attack(model, test.tensors().inputs[both], test.labels[both], stream(0, "attack")).double().mean()
        for model in (problem.faulty, result.model)
    )
    assert new < 0.75 * old


def test_guard_and_unanimity_yield_votes_that_flip_less() -> None:
    problem = digits_problem()
    alone = repair(Joint(epochs=6, aug=1), problem, HARDWARE)
    vote = repair(Joint(epochs=6, aug=1, nfr_max=0.005), problem, HARDWARE)
    assert isinstance(vote.model, SoftVote)
    assert vote.costs["tau"] > 0
    before, kept = right(problem.faulty, problem.validation), right(vote.model, problem.validation)
    assert (before & ~kept).double().mean() <= 0.0025
    assert alone.costs["tau"] == 0
    approach = fitted(Joint(epochs=2, runs=2), problem)
    hashes = {weights_hash(model) for model in approach._trained}
    assert len(hashes) == 2
    assert isinstance(approach.repaired(), UnanimousVote)
    assert approach.costs()["steps"] == 2 * 2 * 19


def in_two_styles(split: Split, share: float) -> Split:
    """Group 1 is shown in negative; digits from 5 up are in it with probability `share`, the others 1 - `share`."""
    draws = torch.rand(len(split), generator=stream(1, split.name))
    groups = (draws < torch.where(split.labels < 5, 1 - share, share)).long()
    inputs = split.tensors().inputs
    negative = groups.view(-1, 1, 1, 1).bool()
    return Split(split.name, torch.where(negative, 1 - inputs, inputs), split.labels, groups)


@pytest.fixture(scope="module")
def grouped() -> tuple[Problem, Split]:
    """Digits in two styles, which go with the label in training and are random elsewhere; and the test split."""
    splits = {name: in_two_styles(split, 0.95 if name == "train" else 0.5) for name, split in digits_splits().items()}
    model: Classifier = build()
    plain = problem_of(model, splits)
    trained = fitted(Finetune(data="train", epochs=10, schedule="constant"), plain).model.eval()
    problem = problem_of(trained, splits)
    task = dataclasses.replace(problem.task, has_groups=True)
    return dataclasses.replace(problem, task=task), splits["test"]


def aaod(model: nn.Module, split: Split) -> float:
    assert split.groups is not None
    return average_absolute_odds_difference(predict(model, split).argmax(1), split.labels, split.groups, 10).item()


def test_groups_switch_the_fairness_terms_on_and_they_help(grouped: tuple[Problem, Split]) -> None:
    problem, test = grouped
    approach = fitted(Joint(epochs=10, adv=0, aug=0), problem)
    assert (approach.settings.bal, approach.settings.fair) == (0.5, 0.5)
    fair = approach.repaired()
    control = fitted(Joint(epochs=10, adv=0, aug=0, bal=0, fair=0), problem).repaired()
    assert accuracy(fair, test) > accuracy(problem.faulty, test)
    assert aaod(fair, test) < aaod(control, test) < aaod(problem.faulty, test)


def test_without_groups_or_box_the_terms_are_off_or_refused() -> None:
    problem = digits_problem()
    boxless = dataclasses.replace(problem.task, box=None)
    assert begun(dataclasses.replace(problem, task=boxless)).settings.adv == 0
    assert begun(digits_problem(batch_norm=True)).settings.adv == 0
    assert begun().settings.adv == 2
    assert begun().settings.epsilon == pytest.approx(0.1 * 2 / 3)
    table = dataclasses.replace(problem.task, kind="table", input_shape=(64,))
    assert begun(dataclasses.replace(problem, task=table)).settings.aug == 0
    radiusless = dataclasses.replace(problem.task, epsilon=None)
    for options, task in (
        ({"adv": 1}, boxless),
        ({"adv": 1}, radiusless),
        ({"fair": 0.5}, problem.task),
        ({"aug": 0.5}, table),
        ({"flip": True}, table),
    ):
        with pytest.raises(NotApplicable):
            Joint(**options).check(task)
        Joint().check(task)
    Joint(adv=1, epsilon=0.1).check(radiusless)


def test_a_model_that_got_worse_on_validation_is_a_failure() -> None:
    result = repair(Joint(lr=10, epochs=1), digits_problem(), HARDWARE)
    assert result.outcome == "failure"
    assert "validation accuracy fell" in result.reason or "finite" in result.reason
