"""Models that answer as one."""

from pathlib import Path

import pytest
import torch
from torch import nn

from study.models.votes import SoftVote, UnanimousVote, most_conservative
from study.runtime.randomness import stream
from study.storage.models import load_model, save_model
from tests.problems import build


def models(count: int) -> list[nn.Module]:
    """Untrained networks, different from one another."""
    made: list[nn.Module] = []
    for number in range(count):
        torch.manual_seed(number)
        made.append(build().eval())
    return made


INPUTS = torch.rand(50, 1, 8, 8, generator=stream(0, "inputs"))


def test_soft_vote_mixes_probabilities() -> None:
    before, after = models(2)
    expected = 0.3 * before(INPUTS).softmax(1) + 0.7 * after(INPUTS).softmax(1)
    assert SoftVote(before, after, 0.3)(INPUTS).exp().allclose(expected, atol=1e-6)


def test_unanimous_vote_leaves_an_answer_only_where_all_disagree() -> None:
    before, *voters = models(4)
    old = before(INPUTS).argmax(1)
    answers = torch.stack([voter(view).argmax(1) for voter in voters for view in (INPUTS, INPUTS.flip(-1))])
    given = UnanimousVote.of(before, voters, flip=True)(INPUTS).argmax(1)
    overruled = (answers != old).all(0)
    assert 0 < overruled.sum() < len(INPUTS)
    assert given[~overruled].equal(old[~overruled])
    assert (given[overruled] != old[overruled]).all()


def test_a_vote_that_keeps_the_old_answer_wins_over_one_that_gives_it_more_probability() -> None:
    first, second = [0.45, 0.55, 0.0], [0.4, 0.3, 0.3]  # the old answer is class 0: the second vote keeps it
    votes = torch.tensor([[first], [second]]).clamp(min=1e-9).log()
    assert most_conservative(votes, torch.tensor([0])).exp()[0].tolist() == pytest.approx(second, abs=1e-6)


def test_one_vote_is_its_own_answer() -> None:
    before, voter = models(2)
    assert UnanimousVote.of(before, [voter])(INPUTS).argmax(1).equal(voter(INPUTS).argmax(1))


@pytest.mark.parametrize("combined", [False, True])
def test_stored_and_loaded_votes_give_the_same_logits(tmp_path: Path, combined: bool) -> None:
    before, *voters = models(3)
    vote: nn.Module = UnanimousVote.of(before, voters, flip=True)
    if combined:
        vote = SoftVote(before, vote, 0.25)
    save_model(vote.eval(), tmp_path)
    assert load_model(tmp_path)(INPUTS).equal(vote(INPUTS))


def test_voters_of_another_architecture_are_stored_as_such(tmp_path: Path) -> None:
    (before,) = models(1)
    vote = UnanimousVote.of(before, [build(batch_norm=True).eval(), build(batch_norm=True).eval()]).eval()
    save_model(vote, tmp_path)
    assert load_model(tmp_path)(INPUTS).equal(vote(INPUTS))
