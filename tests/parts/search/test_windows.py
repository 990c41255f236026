import math

import torch

from study.parts.search.windows import Windows

RANKINGS = {"first.weight": torch.tensor([4, 2, 0, 1, 3]), "last.weight": torch.tensor([1, 0, 2])}


def opened(windows: Windows, rounds: int) -> list[tuple[str, list[int]]]:
    """The parameter and the entries of each window."""
    found = []
    for _ in range(rounds):
        window = windows.next()
        places = windows.places
        owners = {places.names[number] for number in places.owner[window.columns].tolist()}
        assert owners == {window.parameter}
        found.append((window.parameter, places.index[window.columns].tolist()))
    return found


def test_windows_follow_the_ranking_layer_by_layer_from_the_last_and_wrap_around() -> None:
    found = opened(Windows(RANKINGS, 0.4), 8)
    assert found == [
        ("last.weight", [1, 0]),
        ("first.weight", [4, 2]),
        ("last.weight", [2, 1]),
        ("first.weight", [0, 1]),
        ("last.weight", [0, 2]),
        ("first.weight", [3, 4]),
        ("last.weight", [1, 0]),
        ("first.weight", [2, 0]),
    ]


def test_one_window_is_the_whole_layer_with_share_one_and_one_weight_with_a_tiny_share() -> None:
    assert opened(Windows(RANKINGS, 1.0), 3) == [
        ("last.weight", [1, 0, 2]),
        ("first.weight", [4, 2, 0, 1, 3]),
        ("last.weight", [1, 0, 2]),
    ]
    assert [len(entries) for _, entries in opened(Windows(RANKINGS, 1e-9), 4)] == [1] * 4


def test_windows_of_a_layer_are_disjoint_until_the_first_wrap_and_places_keep_their_numbers() -> None:
    ranking = torch.randperm(103, generator=torch.Generator().manual_seed(0))
    windows, seen = Windows({"only.weight": ranking}, 0.1), list[int]()
    size = math.ceil(10.3)
    for number in range(20):
        before = windows.places
        window = windows.next()
        places = windows.places
        assert torch.equal(places.index[: len(before)], before.index)
        mine = places.index[window.columns].tolist()
        assert len(mine) == len(set(mine)) == size
        if (number + 1) * size <= 103:
            assert not set(mine) & set(seen)
        seen += mine
    assert sorted(windows.places.index.tolist()) == list(range(103))
