"""The way from a faulty model to its repair, point by point."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from study.frontier.curves import Point, best, curves_of, mean
from study.models.votes import SoftVote
from study.problem.prediction import right
from study.safeguards.interpolation import Between, sample
from tests.problems import digits_problem, digits_splits
from tests.safeguards.models import spoilt


def rates(before: nn.Module, after: nn.Module) -> tuple[float, float]:
    """Repair rate and rate of negative flips on the test split, by the models' answers."""
    test = digits_splits()["test"]
    old, new = right(before, test), right(after, test)
    return int((~old & new).sum()) / int((~old).sum()), int((old & ~new).sum()) / len(test)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_every_point_is_what_the_safeguard_of_that_share_gives(batch_norm: bool) -> None:
    problem, splits = digits_problem(batch_norm=batch_norm), digits_splits()
    repaired, statistics = spoilt(problem, 0.1), sample(splits["train"], 300, 0)
    curves = curves_of(problem.faulty, repaired, splits["test"], statistics, 0)
    between = Between(problem.faulty, repaired, statistics, 0)
    for number, share in ((0, 0.0), (6, 0.3), (17, 0.85), (20, 1.0)):
        vote = SoftVote(problem.copy(), repaired, 1 - share) if 0 < share < 1 else between.at(share)
        assert curves["interpolation"][number] == (share, *rates(problem.faulty, between.at(share)))
        assert curves["soft_voting"][number] == (share, *rates(problem.faulty, vote))
    assert curves["interpolation"][0] == curves["soft_voting"][0] == (0, 0, 0)
    assert curves["interpolation"][20] == curves["soft_voting"][20] != (1, 0, 0)


def test_two_linear_models_have_the_frontier_that_they_must() -> None:
    """Logits (w x, 0), w from 1 to -3: the sign turns at a quarter, where every answer changes at once."""
    models = [nn.Linear(1, 2, bias=False).eval() for _ in range(2)]
    with torch.no_grad():
        for model, weight in zip(models, (1.0, -3.0), strict=True):
            model.weight.copy_(torch.tensor([[weight], [0.0]]))
    inputs: Tensor = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    test = type(digits_splits()["test"])("test", inputs, torch.tensor([0, 0, 0, 1]))  # three right, one wrong
    points = curves_of(*models, test, test, 0)["interpolation"]
    assert [(p.repaired, p.broken) for p in points if p.share < 0.25] == [(0, 0)] * 5
    assert [(p.repaired, p.broken) for p in points if p.share > 0.25] == [(1, 0.75)] * 15


def test_what_is_more_than_weights_has_a_vote_alone() -> None:
    problem, splits = digits_problem(), digits_splits()
    assert set(curves_of(problem.faulty, nn.Sequential(problem.copy()), splits["test"], splits["train"], 0)) == {
        "soft_voting"
    }


def test_the_best_point_is_the_one_that_repairs_most_within_the_limit() -> None:
    curve = [
        Point(0, 0, 0),
        Point(0.3, 0.5, 0.004),
        Point(0.6, 0.6, 0.002),
        Point(0.8, 0.6, 0.001),
        Point(1, 0.7, 0.003),
    ]
    assert [best(curve, limit).share for limit in (0.0, 0.002, 0.003, 1)] == [0, 0.8, 1, 1]


def test_the_mean_is_over_seeds_at_each_share() -> None:
    curves = [[Point(0, 0, 0), Point(1, 0.4, 0.2)], [Point(0, 0, 0), Point(1, 0.8, 0.1)]]
    assert mean(curves)[1] == pytest.approx((1, 0.6, 0.15))
