"""The unanimous vote over an input and its mirror image."""

from __future__ import annotations

import dataclasses

import pytest

from study.errors import NotApplicable
from study.models.votes import UnanimousVote
from study.problem.prediction import right
from study.safeguards.unanimity import Unanimity
from tests.problems import digits_problem, digits_splits
from tests.safeguards.models import spoilt


def test_another_answer_needs_both_views() -> None:
    problem, inputs = digits_problem(), digits_splits()["test"].tensors().inputs
    repaired = spoilt(problem, 0.07)
    old, new = problem.faulty(inputs).argmax(1), repaired(inputs).argmax(1)
    both = (new != old) & (repaired(inputs.flip(-1)).argmax(1) != old)
    answers = Unanimity().guard(problem, repaired)(inputs).argmax(1)
    assert 0 < both.sum() < (new != old).sum()
    assert (answers != old).equal(both)


def test_there_are_no_more_negative_flips_than_without_it() -> None:
    problem = digits_problem()
    repaired = spoilt(problem, 0.07)
    guarded = Unanimity().guard(problem, repaired)
    before, after, alone = (right(model, problem.validation) for model in (problem.faulty, guarded, repaired))
    assert (before & ~after & alone).sum() == 0
    assert 0 < (before & ~after).sum() < (before & ~alone).sum()


def test_each_voter_of_a_vote_sees_both_views() -> None:
    problem, inputs = digits_problem(), digits_splits()["test"].tensors().inputs
    voters = [spoilt(problem, 0.07, seed) for seed in range(3)]
    guarded = Unanimity().guard(problem, UnanimousVote.of(problem.copy(), voters))
    assert guarded(inputs).equal(UnanimousVote.of(problem.copy(), voters, flip=True)(inputs))


def test_without_mirror_images_the_repaired_model_answers_alone() -> None:
    problem = digits_problem()
    repaired = spoilt(problem, 0.07)
    assert Unanimity(flip=False).guard(problem, repaired) is repaired


@pytest.mark.parametrize("kind", ["table", "tokens"])
def test_only_images_can_be_mirrored(kind: str) -> None:
    task = dataclasses.replace(digits_problem().task, kind=kind)  # type: ignore[arg-type]
    with pytest.raises(NotApplicable, match="image"):
        Unanimity().check(task)
    Unanimity(flip=False).check(task)
