from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from study.parts.network.places import Entries, write
from study.parts.network.readout import Readout
from study.parts.search.merging import Coding, Merge, MergedRisk
from study.parts.selection.risk import Risk, frequent_errors
from study.problem.prediction import predict
from tests.problems import digits_problem


def entries(*index: int) -> Entries:
    return Entries(("0.weight",), torch.zeros(len(index), dtype=torch.long), torch.tensor(index))


def small() -> nn.Sequential:
    network = nn.Sequential(nn.Linear(3, 2))
    network[0].weight.data = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    return network


REPAIRS = [(entries(1, 4), torch.tensor([9.0, 2.0])), (entries(4, 5), torch.tensor([7.0, -5.0]))]


def merged(coefficients: list[float], coding: Coding = "interp") -> list[float]:
    merge = Merge.of(small(), REPAIRS, coding)
    assert merge.places.index.tolist() == [1, 4, 5]
    return merge.values(torch.tensor([coefficients]))[0].tolist()  # type: ignore[no-any-return]


def test_a_shared_weight_appears_once_and_has_a_coefficient_of_its_own() -> None:
    merge = Merge.of(small(), REPAIRS)
    assert merge.shared.tolist() == [False, True, False] and len(merge) == 3
    assert merged([0.5, 0.25, 0.0]) == [5.0, 2.0, 2.5]
    assert merged([1.0, 1.0, 1.0]) == [9.0, 7.0, -5.0]
    assert merged([0.0, 0.0, 0.4]) == [1.0, 4.0, 5.0]  # 2 + 0.4 * (7 - 2): the faulty model


def test_the_reference_coding_runs_from_the_smaller_to_the_larger_value() -> None:
    assert merged([1.0, 1.0, 1.0], "reference") == [9.0, 7.0, 5.0]
    assert merged([0.0, 0.0, 0.0], "reference") == [1.0, 2.0, -5.0]


def test_one_repair_alone_at_1_is_that_repair_and_at_0_the_model() -> None:
    values = torch.randn(2, generator=torch.Generator().manual_seed(0))
    merge = Merge.of(small(), [(entries(0, 5), values)])
    assert torch.equal(merge.values(torch.tensor([[1.0]]))[0], values)
    assert merge.values(torch.tensor([[0.0]])).tolist() == [[0.0, 5.0]]
    torch.testing.assert_close(merge.summed(), values)


@pytest.mark.parametrize("coding", ["interp", "reference"])
def test_every_merged_weight_lies_between_the_values_it_is_made_of(coding: Coding) -> None:
    merge = Merge.of(small(), REPAIRS, coding)
    values = merge.values(torch.rand(50, 3, generator=torch.Generator().manual_seed(0)))
    low, high = torch.tensor([1.0, 2.0, -5.0]), torch.tensor([9.0, 7.0, 5.0])
    assert bool(((values >= low) & (values <= high)).all())


def test_the_sum_adds_what_the_repairs_add() -> None:
    assert Merge.of(small(), REPAIRS).summed().tolist() == [9.0, 4.0 - 2.0 + 3.0, -5.0]


def scored(count: int) -> tuple[Readout, Merge, MergedRisk, Risk, Tensor]:
    """Two patches of a network on digits that share a weight, and the score of mixing them."""
    problem = digits_problem()
    readout = Readout.of(problem.faulty, problem.repair_set)
    draws = torch.Generator().manual_seed(0)
    repairs = [(entries(*index), torch.randn(len(index), generator=draws) * 3) for index in ((3, 40, 99), (40, 130))]
    merge = Merge.of(readout.network, repairs)
    labels, predicted = readout.split.labels, predict(readout.network, readout.split).argmax(1)
    risk = frequent_errors(labels, predicted, 10, 5, 3)
    score = MergedRisk(merge, readout.layer, readout.split.inputs, labels, risk)
    return readout, merge, score, risk, torch.rand(count, len(merge), generator=draws)


def test_scores_are_those_of_a_loop_over_written_models(monkeypatch: pytest.MonkeyPatch) -> None:
    readout, merge, score, risk, coefficients = scored(7)
    labels, expected = readout.split.labels, []
    for row in coefficients:
        write(readout.network, merge.places, merge.values(row[None])[0])
        predicted = predict(readout.network, readout.split).argmax(1)
        total = 0.0
        for c in range(10):
            n = int((labels == c).sum())
            total += 0.1 * (1 - int(((labels == c) & (predicted != c)).sum()) / n)
        weights = torch.tensor(risk.w_risk, dtype=torch.float64)
        for (label, other), weight in zip(risk.misclassifications, weights / weights.sum(), strict=True):
            of = labels == label
            wrong = of & (predicted != labels if other is None else predicted == other)
            total -= 0.5 * float(weight) * int(wrong.sum()) / int(of.sum())
        expected.append(total)
    assert score(coefficients).tolist() == pytest.approx(expected)
    assert len(set(expected)) > 1
    assert max(expected) < score.ceiling == pytest.approx(1.0)
    monkeypatch.setattr("study.parts.search.merging.block_size", lambda _: 1)
    assert score(coefficients).tolist() == pytest.approx(expected)  # one model at a time


def test_a_coefficient_outside_scores_minus_1() -> None:
    _, _, score, _, coefficients = scored(3)
    inside = score(coefficients)
    coefficients[1, 0] = 1.001
    coefficients[2, -1] = -0.001
    assert score(coefficients).tolist() == [float(inside[0]), -1.0, -1.0]
    assert score(coefficients[1:]).tolist() == [-1.0, -1.0]
