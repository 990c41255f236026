import pytest
import torch

from study.parts.augmentation.augmix import draw_mix, mix, to_uint8
from study.parts.augmentation.guided_mix import guided_mix, unguided_left_out
from study.parts.augmentation.mixing import Mixing
from tests.problems import digits_splits


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_weights_are_convex_and_the_guide_has_none_where_there_is_none() -> None:
    weights, m = draw_mix(10_000, 4, generator())
    guided = torch.arange(10_000) % 2 == 0
    left = unguided_left_out(weights, guided)
    torch.testing.assert_close(left[:, guided], weights[:, guided])
    assert not left[-1, ~guided].any() and (left >= 0).all()
    torch.testing.assert_close((1 - m) + m * left.sum(dim=0), torch.ones(10_000), atol=1e-6, rtol=0)
    # Dirichlet(1, 1, 1): variance (1/3)(2/3)/4.
    assert left[0, ~guided].var().item() == pytest.approx(1 / 18, abs=0.003)


@pytest.mark.parametrize("raw", [False, True])
def test_a_mix_is_of_chains_of_the_image_and_one_of_its_guide_where_it_has_one(raw: bool) -> None:
    images = digits_splits()["train"].tensors().inputs[:200]
    black, guided = torch.zeros_like(images), torch.arange(200) % 2 == 0
    dark = torch.full_like(images, 64 / 255)  # operators leave black as it is, and do not make this black
    mixed = guided_mix(Mixing(width=2), black, dark, guided, generator(), raw=raw)
    assert not mixed[~guided].any()
    assert mixed[guided].flatten(1).amax(1).min() > 0
    alone = guided_mix(Mixing(width=2), images, black, torch.zeros(200, dtype=torch.bool), generator(), raw=True)
    random = generator()
    chains = Mixing(width=2).of_grey_levels(to_uint8(images).repeat(2, 1, 1, 1), random).view(2, *images.shape)
    weights, m = draw_mix(200, 3, random)
    torch.testing.assert_close(alone, mix(images, chains, weights[:2] / weights[:2].sum(0), m))
