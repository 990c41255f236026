"""Streams are told apart by seed and name, and leave torch's global state alone."""

from __future__ import annotations

import torch

from study.runtime.randomness import derived_seed, forked, stream


def draws(seed: int, *names: object) -> list[int]:
    return torch.randint(1000, (5,), generator=stream(seed, *names)).tolist()


def test_a_stream_is_determined_by_its_seed_and_names() -> None:
    assert draws(3, "search") == draws(3, "search")
    others = [draws(4, "search"), draws(3, "batches"), draws(3, "search", 1), draws(3)]
    assert all(other != draws(3, "search") for other in others)
    assert derived_seed(0, "split") == 1456003616910624960  # SHA-256 of "0:split"


def test_seeds_fit_a_generator() -> None:
    seeds = [derived_seed(seed, "x") for seed in range(1000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len(set(seeds)) == 1000


def test_streams_neither_read_nor_move_the_global_state() -> None:
    torch.manual_seed(0)
    first, state = draws(1, "a"), torch.get_rng_state()
    torch.manual_seed(1)
    assert draws(1, "a") == first
    torch.manual_seed(0)
    draws(1, "a")
    assert torch.equal(torch.get_rng_state(), state)


def test_forked_draws_are_those_of_the_stream_and_the_global_state_is_put_back() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    with forked(5, "init"):
        inside = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(9)
    with forked(5, "init"):
        assert torch.equal(torch.rand(3), inside)
    assert torch.equal(inside, torch.rand(3, generator=stream(5, "init")))


def test_forked_puts_the_state_back_after_an_exception() -> None:
    state = torch.get_rng_state()
    try:
        with forked(5, "init"):
            torch.rand(3)
            raise ValueError
    except ValueError:
        assert torch.equal(torch.get_rng_state(), state)
