"""Joint repair: what its trainings are made of, and its effect on digits with and without groups."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from study.data.split import Change, Split
from study.errors import NotApplicable
from study.methods.model_level.finetune import Finetune
from study.methods.model_level.joint import Joint
from study.metrics.fairness import average_absolute_odds_difference
from study.metrics.robustness import PGD
from study.models.classifier import Classifier
from study.models.votes import SoftVote, UnanimousVote
from study.parts.training.base import Training
from study.parts.training.joint_training import JointTraining
from study.parts.training.oversampling import Oversampled
from study.problem.prediction import accuracy, predict, right
from study.problem.problem import Problem
from study.repairs.approach import Approach, Repaired
from study.repairs.stages import Walk
from study.runtime.fit import Stage
from study.runtime.randomness import stream
from study.safeguards.soft_voting import SoftVoting, smallest_tau
from study.safeguards.unanimity import Unanimity
from study.storage.models import weights_hash
from tests.fitting import finished, fitted
from tests.problems import build, digits_problem, digits_splits, problem_of

OFF: dict[str, Any] = {"adv": 0, "hinge": 0, "fair": 0, "bal": 0, "aug": 0, "extra_failing": 0}


def first_training(approach: Approach, problem: Problem | None = None) -> Training:
    """The first training of a repair, not fitted."""
    training = next(approach.repair(problem or digits_problem()))
    assert isinstance(training, Training)
    return training


def trained(approach: Approach, problem: Problem) -> nn.Module:
    """The model after the first training of a repair."""
    training = first_training(approach, problem)
    fitted(training)
    return training.model


def repaired(approach: Approach, problem: Problem) -> Repaired:
    """What a repair returns, without the rules that judge the result."""
    walk = Walk(approach.repair(problem))
    while isinstance(walk.item, Stage):
        fitted(walk.item)
        walk.advance()
    assert isinstance(walk.item, Repaired)
    return walk.item


def joint_training(problem: Problem | None = None, **options: Any) -> JointTraining:
    training = first_training(Joint(**options), problem)
    assert isinstance(training, JointTraining)
    return training


def first_batch(training: JointTraining) -> Any:
    return next(iter(training.batches))


def test_with_everything_off_it_is_fine_tuning_bit_for_bit() -> None:
    problem = digits_problem()
    ours = trained(Joint(epochs=2, batch_size=64, **OFF), problem)
    control = trained(Finetune(epochs=2), problem)
    assert weights_hash(ours) == weights_hash(control) != weights_hash(problem.faulty)


def test_no_epoch_changes_nothing() -> None:
    problem = digits_problem()
    assert weights_hash(repaired(Joint(epochs=0), problem).model) == weights_hash(problem.faulty)


def test_old_model_and_its_losses_stay_as_they_are() -> None:
    problem = digits_problem()
    training = joint_training(epochs=1)
    assert training.hinge is not None
    before, remembered = weights_hash(problem.faulty), training.hinge.ceilings.clone()
    fitted(training)
    assert weights_hash(problem.faulty) == before
    assert training.hinge.ceilings.equal(remembered)
    theirs = {tensor.data_ptr() for tensor in problem.faulty.state_dict().values()}
    assert theirs.isdisjoint(tensor.data_ptr() for tensor in training.model.state_dict().values())


def test_the_same_seed_gives_the_same_weights() -> None:
    runs = [weights_hash(trained(Joint(epochs=1), digits_problem())) for _ in range(2)]
    assert runs[0] == runs[1]


def test_appended_items_are_failing_repair_inputs() -> None:
    problem = digits_problem()
    appended = torch.cat([batch.indices[-2:] for batch in joint_training().batches])
    assert set(appended.tolist()) <= set((problem.failing + len(problem.train)).tolist())
    nothing_fails = dataclasses.replace(
        problem, failing=problem.failing[:0], passing=torch.arange(len(problem.repair_set))
    )
    assert len(first_batch(joint_training(nothing_fails)).labels) == 64


def test_repairs_digits_and_makes_them_more_robust() -> None:
    problem, test = digits_problem(), digits_splits()["test"]
    result = finished(Joint(epochs=8), problem)
    assert result.outcome == "repaired"
    assert result.model is not None
    before, after = right(problem.faulty, test), right(result.model, test)
    fixed, flips = (after & ~before).sum() / (~before).sum(), (before & ~after).double().mean()
    gain = after.double().mean() - before.double().mean()
    assert gain.item() == pytest.approx((fixed * (~before).double().mean() - flips).item(), abs=1e-6)
    assert fixed > 0.3
    assert flips < 0.02
    attack, both = PGD(loss="margin", epsilon=0.1, steps=10), before & after
    inputs, labels, threat = test.tensors().inputs[both], test.labels[both], problem.task.threat
    old, new = (
        attack.attack(model, inputs, labels, threat, stream(0, "attack")).double().mean()
        for model in (problem.faulty, result.model)
    )
    assert new < 0.75 * old


def test_a_soft_vote_around_it_flips_less() -> None:
    problem = digits_problem()
    alone = trained(Joint(epochs=6, aug=1), problem)
    vote = SoftVoting(tau="auto", nfr_max=0.005).guard(problem, alone)
    # What joint repair itself returned before safeguards were there.
    validation = problem.validation
    tau = smallest_tau(predict(problem.faulty, validation), predict(alone, validation), validation.labels, 0.005 / 2)
    expected, inputs = SoftVote(problem.copy(), alone, tau).eval(), digits_splits()["test"].tensors().inputs
    assert isinstance(vote, SoftVote)
    assert vote.tau == tau > 0
    assert weights_hash(vote) == weights_hash(expected)
    assert vote(inputs).equal(expected(inputs))
    before, kept = right(problem.faulty, validation), right(vote, validation)
    assert (before & ~kept).double().mean() <= 0.0025


def test_several_runs_yield_a_unanimous_vote() -> None:
    problem = digits_problem()
    result = finished(Joint(epochs=2, runs=2), problem)
    assert isinstance(result.model, UnanimousVote)
    assert len({weights_hash(model) for model in result.model.voters}) == 2
    assert weights_hash(result.model.voters[0]) == weights_hash(trained(Joint(epochs=2), problem))
    assert (result.costs["steps"], result.costs["models"]) == (2 * 2 * 19, 3)
    inputs = digits_splits()["test"].tensors().inputs
    mirrored = UnanimousVote.of(problem.copy(), list(result.model.voters), flip=True)
    assert Unanimity().guard(problem, result.model)(inputs).equal(mirrored(inputs))


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
    faulty = trained(Finetune(data="train", epochs=10, schedule="constant"), problem_of(model, splits))
    assert isinstance(faulty, Classifier)
    problem = problem_of(faulty, splits)
    task = dataclasses.replace(problem.task, has_groups=True)
    return dataclasses.replace(problem, task=task), splits["test"]


def aaod(model: nn.Module, split: Split) -> float:
    assert split.groups is not None
    return average_absolute_odds_difference(predict(model, split).argmax(1), split.labels, split.groups, 10).item()


def test_groups_switch_the_fairness_terms_on_and_they_help(grouped: tuple[Problem, Split]) -> None:
    problem, test = grouped
    settings = Joint(epochs=10, adv=0, aug=0).resolved(problem)
    assert (settings.bal, settings.fair) == (0.5, 0.5)
    fair = repaired(Joint(epochs=10, adv=0, aug=0), problem).model
    control = repaired(Joint(epochs=10, adv=0, aug=0, bal=0, fair=0), problem).model
    assert accuracy(fair, test) > accuracy(problem.faulty, test)
    assert aaod(fair, test) < aaod(control, test) < aaod(problem.faulty, test)


def test_each_fairness_term_reaches_the_training(grouped: tuple[Problem, Split]) -> None:
    problem, _ = grouped
    training = joint_training(problem, bal=1, fair=0.7)
    assert training.fair == 0.7
    assert isinstance(training.batches, Oversampled) and training.batches.weights is not None
    splits = (problem.train, problem.repair_set)
    labels, groups = (torch.cat([getattr(split, of) for split in splits]) for of in ("labels", "groups"))
    for label in range(10):  # both groups of a class are drawn alike
        in_class = [training.batches.weights[(labels == label) & (groups == group)].sum() for group in (0, 1)]
        assert in_class[0] == pytest.approx(in_class[1])


def test_settings_reach_the_training() -> None:
    training = joint_training(
        batch_size=32,
        extra_failing=3,
        aug=0.25,
        hinge=3,
        hinge_live=False,
        adv=1.5,
        adv_share=0.25,
        epsilon=0.07,
        epochs=4,
    )
    assert isinstance(training.batches, Oversampled)
    assert (training.batches.size, training.batches.extra, training.batches.weights) == (32, 3, None)
    assert (training.aug, training.fair, training.max_epochs) == (0.25, 0, 4)
    assert training.hinge is not None and (training.hinge.weight, training.hinge.live) == (3, False)
    adversary = training.adversary
    assert adversary is not None
    assert (adversary.weight, adversary.share, adversary.threat.radius) == (1.5, 0.25, 0.07)
    assert adversary.threat.bounds == (0, 1)
    off = joint_training(adv=0, hinge=0)
    assert off.adversary is None and off.hinge is None


def test_without_groups_or_threat_the_terms_are_off_or_refused() -> None:
    problem = digits_problem()
    threatless = dataclasses.replace(problem.task, threat=None)
    assert Joint().resolved(dataclasses.replace(problem, task=threatless)).adv == 0
    assert joint_training(dataclasses.replace(problem, task=threatless)).adversary is None
    assert Joint().resolved(digits_problem(batch_norm=True)).adv == 0
    assert Joint().resolved(problem).adv == 2
    assert Joint().resolved(problem).epsilon == pytest.approx(0.1 * 2 / 3)
    assert "auto" not in dataclasses.asdict(Joint().resolved(problem)).values()
    table = dataclasses.replace(problem.task, kind="table", input_shape=(64,))
    of_a_table = Joint().resolved(dataclasses.replace(problem, task=table))
    assert (of_a_table.aug, of_a_table.hinge, Joint().resolved(problem).hinge) == (0, 2, 1)
    assert of_a_table.adv == 1
    moved = dataclasses.replace(problem.task, affine_invariant=False)
    assert Joint().resolved(dataclasses.replace(problem, task=moved)).aug == 0 < Joint().resolved(problem).aug
    photos = [
        dataclasses.replace(one, task=dataclasses.replace(one.task, input_shape=(3, 8, 8)))
        for one in (problem, digits_problem(batch_norm=True))
    ]
    assert [Joint().resolved(one).aug for one in photos] == [0.5, 1], "all of it only without adversarial examples"
    for options, task in (({"adv": 1}, threatless), ({"fair": 0.5}, problem.task), ({"aug": 0.5}, table)):
        with pytest.raises(NotApplicable):
            Joint(**options).check(task)
        Joint().check(task)
    Joint(adv=0, fair=0, aug=0).check(dataclasses.replace(table, threat=None))


def test_programs_are_distorted_by_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = digits_problem()

    def negative(split: Split) -> Split:
        """Digits as if they were programs, whose renamed form is their negative."""
        inputs = split.tensors().inputs
        variants: dict[str, Change] = {"renamed": lambda indices, generator: 1 - inputs[indices]}
        return Split(split.name, inputs, split.labels, variants=variants)

    programs = dataclasses.replace(
        problem,
        train=negative(problem.train),
        repair_set=negative(problem.repair_set),
        task=dataclasses.replace(problem.task, kind="tokens", threat=None, renamable=True),
    )
    assert Joint().resolved(programs).aug == 0.5
    training = joint_training(programs)
    batch = first_batch(training)
    changed = training.distorted(batch).inputs
    half = len(batch.labels) // 2
    assert changed[:half].equal(1 - batch.inputs[:half]) and changed[half:].equal(batch.inputs[half:])
    Joint(aug=0.5).check(programs.task)
    other = dataclasses.replace(programs.task, renamable=False)
    assert Joint().resolved(dataclasses.replace(programs, task=other)).aug == 0
    monkeypatch.setattr("study.methods.model_level.joint.SMALL", 0)
    assert [Joint().resolved(each).epochs for each in (problem, programs)] == [10, 20]


def test_a_model_that_got_worse_on_validation_is_a_failure() -> None:
    result = finished(Joint(lr=10, epochs=1), digits_problem())
    assert result.outcome == "failure"
    assert "validation accuracy fell" in result.reason or "finite" in result.reason


@pytest.mark.parametrize(("lost", "outcome"), [(4, "repaired"), (5, "failure")])
def test_a_fall_on_validation_that_chance_explains_is_no_failure(lost: int, outcome: str) -> None:
    problem, joint = digits_problem(), Joint(epochs=2, adv=0)
    old, new = (predict(model, problem.train).argmax(1) for model in (problem.faulty, trained(joint, problem)))
    changed = (old != new).nonzero().squeeze(1)[:lost]
    assert len(changed) == lost
    inputs = problem.train.tensors().inputs[changed]
    flattering = Split(
        "validation", inputs, old[changed]
    )  # the faulty model is right on all of it, the new one on none
    assert finished(joint, dataclasses.replace(problem, validation=flattering)).outcome == outcome
