import torch
from torch import nn

from study.runtime.best_state import BestState, state_of


def test_the_first_of_the_best_states_comes_back() -> None:
    model, best = nn.BatchNorm1d(2), BestState()
    best.restore(model)  # nothing was offered: nothing changes
    assert best.score is None and model.weight.tolist() == [1, 1]
    for value, score in enumerate([0.5, 0.9, 0.9, 0.1]):
        with torch.no_grad():
            model.weight.fill_(value)
            model.running_mean.fill_(value)
        assert best.offer(score, model) == (value < 2)
    best.restore(model)
    assert best.score == 0.9
    assert model.weight.tolist() == model.running_mean.tolist() == [1, 1]


def test_the_lowest_score_of_all_is_still_a_state() -> None:
    model, best = nn.Linear(1, 1), BestState()
    assert best.offer(float("-inf"), model) and not best.offer(float("-inf"), model)
    assert not best.offer(float("nan"), model)
    assert state_of(model).keys() == {"weight", "bias"}
