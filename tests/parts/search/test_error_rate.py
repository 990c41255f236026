import pytest
import torch
from torch import Tensor

from study.parts.network.tail import ALL
from study.parts.search.error_rate import ErrorRate
from study.parts.search.evolution import Population
from study.parts.search.patches import Patches, Scores

ITEMS = 60
TARGETS = torch.arange(ITEMS) < 9


class Drawn(Patches):
    """Scores drawn beforehand, one row for each patch; a patch's value is the number of its row."""

    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(0)
        chances = torch.linspace(0.1, 1, count)[:, None]
        self.right = torch.rand(count, ITEMS, generator=generator) < chances
        self.seen = 0

    def scores(self, values: Tensor, rows: slice = ALL) -> Scores:
        right = self.right[values[:, 0].long()][:, rows]
        self.seen += right.numel()
        return Scores(right, torch.zeros_like(right))

    elements = 1  # type: ignore[assignment]

    def _scores(self, values: Tensor, rows: slice) -> Scores:
        raise NotImplementedError


def literal(right: Tensor, alpha: float) -> float:
    wrong = [1 - row.double().mean().item() for row in (right[TARGETS], right[~TARGETS])]
    return -((1 - alpha) * wrong[0] + alpha * wrong[1])


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.98, 1.0])
def test_it_is_minus_the_weighted_error_rate(alpha: float) -> None:
    evaluation, values = Drawn(20), torch.arange(20)[:, None]
    found = ErrorRate(evaluation, TARGETS, alpha)(values)
    expected = torch.tensor([literal(row, alpha) for row in evaluation.right], dtype=torch.float64)
    torch.testing.assert_close(found, expected)
    assert found.std() > 0.01


def test_with_the_share_of_the_others_it_is_the_error_rate_of_all() -> None:
    evaluation = Drawn(20)
    found = ErrorRate(evaluation, TARGETS, (ITEMS - 9) / ITEMS)(torch.arange(20)[:, None])
    torch.testing.assert_close(found, evaluation.right.double().mean(1) - 1)


def test_dropping_early_changes_no_comparison_and_saves_work() -> None:
    evaluation, values = Drawn(20), torch.arange(20)[:, None]
    fitness = ErrorRate(evaluation, TARGETS, 0.6)
    whole, all_of_it = fitness(values), evaluation.seen
    for shift in (0, 1, 7, 13):  # a row's own fitness, and that of others
        evaluation.seen = 0
        floors = whole.roll(shift)
        found = fitness(values, floors)
        assert torch.equal(found[whole >= floors], whole[whole >= floors])
        assert bool((found[whole < floors] < floors[whole < floors]).all())
    fitness(values, torch.full((20,), -0.05, dtype=torch.float64))
    assert evaluation.seen < 0.9 * 2 * all_of_it


def test_no_target_and_no_other_input_count_nothing() -> None:
    evaluation, values = Drawn(5), torch.arange(5)[:, None]
    for targets in (torch.zeros(ITEMS, dtype=torch.bool), torch.ones(ITEMS, dtype=torch.bool)):
        fitness = ErrorRate(evaluation, targets, 0.5)
        torch.testing.assert_close(fitness(values), 0.5 * (evaluation.right.double().mean(1) - 1))
        summary = fitness.summary(Population(values, fitness(values)))
        assert all(bool(torch.as_tensor(value).isfinite()) for value in summary.values())


def test_the_summary_tells_the_shares_of_the_best() -> None:
    evaluation, values = Drawn(5), torch.arange(5)[:, None]
    fitness = ErrorRate(evaluation, TARGETS, 0.5)
    scores = fitness(values)
    right = evaluation.right[int(scores.argmax())].double()
    summary = fitness.summary(Population(values, scores))
    assert summary["search/best_fitness"] == scores.max() <= fitness.ceiling
    assert summary["search/failing_fixed"] == pytest.approx(right[TARGETS].mean().item())
    assert summary["search/passing_kept"] == pytest.approx(right[~TARGETS].mean().item())
