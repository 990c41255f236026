"""The hard vote: the more confident model answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from study.models.votes import HardVote, SoftVote
from study.runtime.randomness import stream
from study.safeguards.hard_voting import HardVoting
from tests.problems import digits_problem, digits_splits
from tests.safeguards.models import spoilt


class Given(nn.Module):
    """Answers with one part of its input."""

    def __init__(self, part: int) -> None:
        super().__init__()
        self.part = part

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs[:, self.part]


def logits(count: int, classes: int) -> Tensor:
    """Of two models, [N, 2, C]."""
    return 2 * torch.randn(count, 2, classes, generator=stream(0, "logits"))


def literal(both: Tensor) -> Tensor:
    """Probabilities [N, C], input by input."""
    old, new = both.softmax(2).unbind(1)
    return torch.stack([p0 if p0.max() > p1.max() else p1 for p0, p1 in zip(old, new, strict=True)])


def test_it_is_the_study_s_rule_input_by_input() -> None:
    both = logits(200, 5)
    assert HardVote(Given(0), Given(1))(both).exp().allclose(literal(both), atol=1e-6)


def test_on_equal_confidence_the_repaired_model_answers() -> None:
    both = torch.tensor([[[2.0, 0.0], [0.0, 2.0]]])
    assert HardVote(Given(0), Given(1))(both).argmax(1).tolist() == [1]


def test_with_two_classes_it_answers_as_the_soft_vote() -> None:
    both = logits(500, 2)
    hard, soft = HardVote(Given(0), Given(1))(both), SoftVote(Given(0), Given(1), 0.5)(both)
    assert hard.argmax(1).equal(soft.argmax(1))


def test_where_both_models_agree_votes_do() -> None:
    both = logits(500, 4)
    agreed = both.argmax(2).unbind(1)
    same = agreed[0] == agreed[1]
    for vote in (HardVote(Given(0), Given(1)), SoftVote(Given(0), Given(1), 0.5)):
        assert 0 < same.sum() < len(same) and vote(both).argmax(1)[same].equal(agreed[0][same])


def test_it_is_put_around_a_repair() -> None:
    problem, inputs = digits_problem(), digits_splits()["test"].tensors().inputs
    repaired = spoilt(problem, 0.1)
    both = torch.stack([problem.faulty(inputs), repaired(inputs)], 1)
    assert HardVoting().guard(problem, repaired)(inputs).exp().allclose(literal(both), atol=1e-6)
