import pytest
import torch

from study.parts.search.mutation import Mutation, Operator

VALUES = torch.tensor([[2.0, -1.0, 0.0, 0.5]]).repeat(4000, 1)


def mutated(operator: Operator, rate: float = 0.5, sigma: float = 0.1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return Mutation(operator, rate, sigma, {"w": torch.tensor(3.0)}, generator)(VALUES, "w")


def test_gauss_adds_noise_relative_to_the_weight_but_not_less_than_a_tenth_of_the_spread() -> None:
    steps = mutated("gauss", rate=1.0, sigma=0.1) - VALUES
    torch.testing.assert_close(steps.std(0), torch.tensor([0.2, 0.1, 0.03, 0.05]), rtol=0.05, atol=0)
    assert steps.mean(0).abs().max() < 0.02
    assert torch.equal(mutated("gauss", sigma=0.0), VALUES)


def test_invert_turns_the_sign_and_block_sets_zero() -> None:
    assert torch.equal(mutated("invert", rate=1.0), -VALUES)
    assert not mutated("block", rate=1.0).any()


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.7])
def test_each_weight_is_chosen_at_the_rate_and_one_at_least(rate: float) -> None:
    chosen = mutated("gauss", rate=rate) != VALUES
    assert bool((chosen.sum(1) >= 1).all())
    none = (1 - rate) ** 4
    expected = rate + none / 4  # where none is chosen, one of the four is forced
    assert chosen.double().mean(0).tolist() == pytest.approx([expected] * 4, abs=0.03)
    if not rate:
        assert bool((chosen.sum(1) == 1).all())
