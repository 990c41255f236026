from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from study.parts.network.places import Entries
from study.parts.search import genetic
from study.parts.search.error_count import Errors
from study.parts.search.genetic import Generation, genetic_search
from study.parts.search.windows import Windows


def network() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False))
    for number, layer in enumerate(model):
        layer.weight.data = torch.arange(1.0, layer.weight.numel() + 1).reshape(layer.weight.shape) + 100 * number
    return model


GOAL = 0.37


class Distance:
    """Errors that fall as the sum of the values comes nearer to a goal; `wrong` counts whole steps of 1."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []
        self.rivals: list[Errors | None] = []
        self.model = network()

    def __call__(self, places: Entries, values: Tensor, rivals: Errors | None) -> Errors:
        self.seen.append(values.clone())
        self.rivals.append(rivals)
        moved = (values - places.values(self.model)).double().sum(1)
        away = (moved - GOAL).abs() * 20
        return Errors(away.floor().long(), away)


def search(evaluate: Any = None, seed: int = 0, mutate: Any = None, **settings: Any) -> list[Generation]:
    model, generator = network(), torch.Generator().manual_seed(seed)

    def nudged(values: Tensor, parameter: str) -> Tensor:
        steps = 0.02 * torch.randn(values.shape, generator=generator)
        return values + steps.masked_fill(torch.rand(values.shape, generator=generator) < 0.5, 0.0)

    rankings = {"0.weight": torch.randperm(12, generator=generator), "1.weight": torch.arange(8)}
    values = {"population": 6, "rounds": 12, "patience": 100, "crossover": 0.5, "inherit": True} | settings
    evaluate = evaluate or Distance()
    found = genetic_search(model, evaluate, Windows(rankings, 0.25), mutate or nudged, generator=generator, **values)
    return list(found)


def tallies(generation: Generation) -> list[tuple[int, float, int]]:
    return list(zip(*(part.tolist() for part in (*generation.errors, generation.changed)), strict=True))


def test_the_fittest_never_get_worse_and_come_in_order() -> None:
    history = search()
    assert len(history) == 13
    for before, after in pairwise(history):
        assert all(new <= old for old, new in zip(tallies(before), tallies(after), strict=True))
        assert tallies(after) == sorted(tallies(after))
    assert tallies(history[-1])[0] < tallies(history[0])[0]


def test_errors_and_changes_are_those_of_the_values() -> None:
    for generation in search(rounds=6):
        wrong, loss = Distance()(generation.places, generation.values, None)
        assert torch.equal(wrong, generation.errors.wrong)
        torch.testing.assert_close(loss, generation.errors.loss)
        original = generation.places.values(network())
        assert torch.equal((generation.values != original).sum(1), generation.changed)


def test_only_the_weights_of_the_opened_windows_differ() -> None:
    first, second, third = search(rounds=2)
    assert tallies(first) == [tallies(first)[0]] * 6 and not len(first.places)
    assert set(second.places.owner.tolist()) == {1} and second.places.index.tolist() == [0, 1]
    assert third.places.owner.tolist() == [1, 1, 0, 0, 0]
    places, values = third.patch(0, network())
    chosen = third.values[0] != third.places.values(network())
    assert len(places) == int(chosen.sum()) and torch.equal(values, third.values[0, chosen])
    model = network()
    assert all(bool((model.get_parameter(n).view(-1)[places.index[m]] != values[m]).all())
               for n, m in places.by_parameter())  # fmt: skip


def test_a_full_tie_goes_to_the_parents_then_to_the_first_born() -> None:
    def flat(places: Entries, values: Tensor, rivals: Errors | None) -> Errors:
        return Errors(torch.ones(len(values), dtype=torch.int64), torch.ones(len(values), dtype=torch.float64))

    assert not search(flat)[-1].changed.any()  # fewer changes win, and a child has at least one
    places = Entries(("0.weight",), torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    same = Errors(torch.tensor([2, 1, 1, 1]), torch.tensor([0.0, 5.0, 3.0, 3.0]).double())
    four = Generation(places, torch.arange(4.0)[:, None], same, torch.tensor([0, 0, 7, 7]))
    assert four.fittest(3).values.flatten().tolist() == [2, 3, 1]
    fewer = Generation(places, four.values, same, torch.tensor([0, 0, 7, 6]))
    assert fewer.fittest(1).values.item() == 3


def test_a_child_of_two_parents_takes_each_value_from_one_of_them_and_the_fitter_are_chosen_more() -> None:
    values = torch.arange(400.0)[:, None].repeat(1, 50)
    generator = torch.Generator().manual_seed(0)
    first, children = genetic._offspring(values, 1.0, generator)
    kinds = [set(child.tolist()) for child in children]
    assert all(len(kind) <= 2 and mine in kind for kind, mine in zip(kinds, first.tolist(), strict=True))
    assert sum(len(kind) == 2 for kind in kinds) > 390
    assert (children == values[first]).double().mean() == pytest.approx(0.5, abs=0.02)
    assert children.mean() == pytest.approx(400 / 3, rel=0.1)  # the mean of the smaller of two uniform draws
    first, copies = genetic._offspring(values, 0.0, generator)
    assert torch.equal(copies, values[first])


def test_children_meet_their_parents_as_rivals_and_copies_are_not_evaluated_again() -> None:
    distance = Distance()
    first, second, *_ = search(distance, rounds=2)
    assert distance.rivals[0] is None
    assert all(torch.equal(a, b) for a, b in zip(distance.rivals[1], first.errors, strict=True))  # type: ignore
    assert all(torch.equal(a, b) for a, b in zip(distance.rivals[2], second.errors, strict=True))  # type: ignore
    idle = Distance()
    history = search(idle, mutate=lambda values, parameter: values, crossover=0.0)
    assert len(idle.seen) == 1 and tallies(history[-1]) == tallies(history[0])


def test_without_inheritance_every_child_is_the_original_with_one_window_mutated() -> None:
    distance = Distance()
    search(distance, inherit=False, rounds=9)
    for children in distance.seen[1:]:
        assert len(children) == 6
        assert (children - network_values(children.shape[1])).ne(0).sum(1).max() <= 3
    inherited = Distance()
    search(inherited, rounds=9)
    widest = max(int((c - network_values(c.shape[1])).ne(0).sum(1).max()) for c in inherited.seen[1:])
    assert widest > 3


def network_values(count: int) -> Tensor:
    """The original's values at the first places that a search opens."""
    generator = torch.Generator().manual_seed(0)
    windows = Windows({"0.weight": torch.randperm(12, generator=generator), "1.weight": torch.arange(8)}, 0.25)
    while len(windows.places) < count:
        windows.next()
    return windows.places.values(network())


def test_it_stops_when_all_are_right_and_without_a_gain() -> None:
    def never(places: Entries, values: Tensor, rivals: Errors | None) -> Errors:
        return Errors(torch.ones(len(values), dtype=torch.int64), -values.double().sum(1))

    def solved(places: Entries, values: Tensor, rivals: Errors | None) -> Errors:
        return Errors(torch.zeros(len(values), dtype=torch.int64), values.double().sum(1))

    assert len(search(never, patience=4)) == 1 + 4
    assert len(search(solved)) == 1
    assert len(search(rounds=0)) == 1


def test_the_seed_decides_the_search() -> None:
    assert torch.equal(search(seed=3)[-1].values, search(seed=3)[-1].values)
    assert not torch.equal(search(seed=3)[-1].values, search(seed=4)[-1].values)
