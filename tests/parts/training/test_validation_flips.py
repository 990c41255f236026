from __future__ import annotations

import torch
from torch import nn

from study.data.split import Split
from study.parts.training.validation_flips import Candidates, Flips, Rule, flips_of


def rule(**changes: object) -> Rule:
    settings = {"select": "score", "beta": 1.0, "accuracy_drop": 0.1, "failures_left": 0.15, "guard": False}
    return Rule(**(settings | changes))  # type: ignore[arg-type]


def kept(flips: list[Flips], accuracy: float = 0.9, **changes: object) -> tuple[int | None, bool]:
    """Which state is kept and restored, and whether the last one offered ends the search."""
    model = nn.Linear(1, 1)
    candidates, ends = Candidates(rule(**changes), accuracy), False
    for number, each in enumerate(flips):
        model.weight.data.fill_(number)
        ends = candidates.offer(each, model)
    model.weight.data.fill_(-1)
    candidates.restore(model)
    assert model.weight.item() == (-1 if candidates.kept is None else candidates.kept)
    return candidates.kept, ends


def test_flips_are_counted() -> None:
    labels = torch.tensor([0, 0, 1, 1, 1])
    logits = torch.tensor([[1.0, 0], [0, 1.0], [0, 1.0], [1.0, 0], [0, 1.0]])
    before = torch.tensor([False, True, True, False, True])
    flips = flips_of(before, nn.Identity(), Split("validation", logits, labels))
    assert flips == Flips(accuracy=3 / 5, repair_rate=1 / 2, negative_flip_rate=1 / 5)
    every = flips_of(torch.ones(5, dtype=torch.bool), nn.Identity(), Split("validation", logits, labels))
    assert every == Flips(accuracy=3 / 5, repair_rate=0.0, negative_flip_rate=2 / 5)


STATES = [Flips(0.91, 0.2, 0.01), Flips(0.86, 0.6, 0.1), Flips(0.88, 0.5, 0.05)]


def test_the_best_score_is_kept() -> None:
    assert kept(STATES) == (1, False)
    assert kept(STATES, beta=5.0) == (2, False)
    assert kept(STATES, beta=20.0) == (0, False)
    assert kept([STATES[0], STATES[0]]) == (0, False)  # of equals the first
    assert kept(STATES, select="last") == (2, False)
    assert kept([]) == (None, False)


def test_the_guard_admits_no_lower_accuracy() -> None:
    assert kept(STATES, guard=True) == (0, False)
    assert kept(STATES, guard=True, select="last") == (0, False)
    assert kept(STATES, accuracy=0.91, guard=True) == (0, False)
    assert kept(STATES, accuracy=0.92, guard=True) == (None, False)


def test_a_good_state_ends_the_search_and_is_kept() -> None:
    good = Flips(0.8, 0.86, 0.2)
    assert kept([*STATES, good], beta=20.0) == (3, True)
    assert kept([*STATES, good], select="last") == (3, True)
    assert kept([*STATES, good], accuracy=0.91, beta=20.0) == (0, False)  # over the allowed drop
    assert kept([*STATES, good], failures_left=0.1, beta=20.0) == (0, False)
    assert kept([*STATES, good], guard=True) == (0, False)
