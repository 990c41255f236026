from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_digits
from torch import Tensor

from study.parts.augmentation import augmix
from study.parts.augmentation.augmix import REPLACE, ChainDraws, apply_chains, draw_chains, draw_mix, mix

GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photos(count: int = 8, channels: int = 3, height: int = 32, width: int = 32) -> Tensor:
    """Smooth random pictures whose channels differ in range; one picture is constant and one nearly so."""
    small = torch.rand(count, channels, 6, 6, generator=generator())
    large = torch.nn.functional.interpolate(small, (height, width), mode="bilinear")
    images = (large * torch.linspace(40, 255, count)[:, None, None, None]).to(torch.uint8)
    images[-1] = 77
    images[-2] = 0
    images[-2, :, 3, 4:9] = 200
    return images


def digits(count: int = 64) -> Tensor:
    images = torch.tensor(load_digits().images[:count], dtype=torch.float32)[:, None] / 16
    return augmix.to_uint8(torch.nn.functional.interpolate(images, (28, 28), mode="bilinear"))


def by_pillow(images: Tensor, operate: Callable[[Image.Image], Image.Image]) -> Tensor:
    results = []
    for image in images:
        picture = Image.fromarray(image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy())
        result = torch.from_numpy(np.array(operate(picture)))
        results.append(result[None] if len(image) == 1 else result.permute(2, 0, 1))
    return torch.stack(results)


def chain(count: int, *names: str, level: float = 3.0, sign: float = 1.0) -> ChainDraws:
    """The same chain for all images."""
    shape = (count, len(names))
    operator = torch.arange(len(names)).expand(shape)
    depth = torch.full((count,), len(names))
    return ChainDraws(depth, operator, torch.full(shape, level), torch.full(shape, sign), names)


SOURCES = {"grey": photos(channels=1), "colour": photos(), "digits": digits(), "tiny": photos(height=9, width=8)}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("name", "level", "operate"),
    [
        ("autocontrast", 3.0, ImageOps.autocontrast),
        ("equalize", 3.0, ImageOps.equalize),
        ("posterize", 0.1, lambda picture: ImageOps.posterize(picture, 4)),
        ("posterize", 3.0, lambda picture: ImageOps.posterize(picture, 3)),
        ("solarize", 0.1, lambda picture: ImageOps.solarize(picture, 254)),
        ("solarize", 3.0, lambda picture: ImageOps.solarize(picture, 180)),
    ],
)
def test_pixel_operators_are_those_of_pillow(
    source: str, name: str, level: float, operate: Callable[[Image.Image], Image.Image]
) -> None:
    images = SOURCES[source]
    assert torch.equal(apply_chains(images, chain(len(images), name, level=level)), by_pillow(images, operate))


def test_equalize_on_many_histograms_is_that_of_pillow() -> None:
    noise = torch.randint(0, 256, (200, 1, 24, 25), generator=generator())
    images = (noise * torch.rand(200, 1, 1, 1, generator=generator())).to(torch.uint8)
    assert torch.equal(augmix.equalize(images), by_pillow(images, ImageOps.equalize))
    assert torch.equal(augmix.autocontrast(images), by_pillow(images, ImageOps.autocontrast))


def expected_geometry(
    name: str, level: float, sign: int, width: int, height: int
) -> Callable[[Image.Image], Image.Image]:
    """AugMix's own calls of Pillow."""
    matrix = {
        "shear_x": (1, sign * level * 0.3 / 10, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, sign * level * 0.3 / 10, 1, 0),
        "translate_x": (1, 0, sign * int(level * (width / 3) / 10), 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, sign * int(level * (height / 3) / 10)),
    }
    if name == "rotate":
        return lambda picture: picture.rotate(sign * int(level * 30 / 10), resample=Image.Resampling.BILINEAR)
    return lambda picture: picture.transform(
        (width, height), Image.Transform.AFFINE, matrix[name], resample=Image.Resampling.BILINEAR
    )


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 40)])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("level", [0.25, 1.7, 3.0])
@pytest.mark.parametrize("name", GEOMETRIC)
def test_geometric_operators_are_those_of_pillow(
    name: str, level: float, sign: int, shape: tuple[int, int, int]
) -> None:
    channels, height, width = shape
    images = photos(4, channels, height, width)[:2]
    result = apply_chains(images, chain(2, name, level=level, sign=sign))
    expected = by_pillow(images, expected_geometry(name, level, sign, width, height))
    covered = by_pillow(torch.full_like(images, 255), expected_geometry(name, level, sign, width, height)) == 255
    inside = -torch.nn.functional.max_pool2d(-covered.float(), 3, stride=1, padding=1) == 1
    inside[..., [0, -1]] = inside[..., [0, -1], :] = False
    assert inside.float().mean() > 0.6
    difference = (result.int() - expected.int()).abs()
    assert difference[inside].max() <= 2
    if name.startswith("translate"):
        assert difference.max() == 0


def test_levels_and_signs_have_their_ranges() -> None:
    draws = draw_chains(5000, generator(), severity=3)
    assert draws.level.min() >= 0.1 and draws.level.max() <= 3
    assert draws.level.mean().item() == pytest.approx(1.55, abs=0.03)
    assert draws.sign.mean().item() == pytest.approx(0, abs=0.03)
    assert set(draws.sign.unique().tolist()) == {-1.0, 1.0}
    assert torch.bincount(draws.depth).div(5000).tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3], abs=0.03)
    assert torch.bincount(draws.operator.flatten()).div(15000).tolist() == pytest.approx([1 / 9] * 9, abs=0.015)


def test_severity_3_keeps_3_or_4_bits_and_moves_at_most_a_tenth_of_the_side() -> None:
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(500, 1, 1, 1)
    posterized = apply_chains(ramp, draw_chains(500, generator(), depth=(1, 1), operators=("posterize",)))
    assert {len(image.unique()) for image in posterized} == {8, 16}
    bar = torch.zeros(500, 1, 28, 28, dtype=torch.uint8)
    bar[..., 14] = 255
    moved = apply_chains(bar, draw_chains(500, generator(), depth=(1, 1), operators=("translate_x",)))
    assert {int(row.argmax()) - 14 for row in moved[:, 0, 0]} == {-2, -1, 0, 1, 2}


def test_operators_of_a_chain_run_in_order_up_to_its_depth() -> None:
    images = photos(4)
    draws = ChainDraws(
        depth=torch.tensor([0, 1, 2, 2]),
        operator=torch.tensor([[0, 1], [0, 1], [0, 1], [1, 0]]),
        level=torch.full((4, 2), 3.0),
        sign=torch.ones(4, 2),
        operators=("solarize", "posterize"),
    )

    def solarize(image: Tensor) -> Tensor:
        return augmix.solarize(image, torch.tensor([180]))

    def posterize(image: Tensor) -> Tensor:
        return augmix.posterize(image, torch.tensor([3]))

    parts = [images[:1], solarize(images[1:2]), posterize(solarize(images[2:3])), solarize(posterize(images[3:]))]
    assert torch.equal(apply_chains(images, draws), torch.cat(parts))


def test_several_chains_may_start_from_the_same_image() -> None:
    images, source = photos(4), torch.tensor([3, 0, 0, 2, 3, 1])
    draws = draw_chains(6, generator(), operators=(*augmix.OPERATORS, REPLACE))
    together = apply_chains(images, draws, 255 - images, source)
    assert torch.equal(together, apply_chains(images[source], draws, 255 - images[source]))


def test_an_image_is_processed_alike_in_any_company() -> None:
    images = digits(40)
    draws = draw_chains(40, generator())
    together = apply_chains(images, draws)
    for i in range(40):
        row = slice(i, i + 1)
        alone = ChainDraws(draws.depth[row], draws.operator[row], draws.level[row], draws.sign[row], draws.operators)
        assert torch.equal(apply_chains(images[row], alone), together[row])


def test_chains_leave_their_input_alone_and_repeat_under_a_generator() -> None:
    images = digits()
    copy = images.clone()
    before = torch.get_rng_state()
    first = apply_chains(images, draw_chains(64, generator(1)))
    assert torch.equal(images, copy)
    assert torch.equal(first, apply_chains(images, draw_chains(64, generator(1))))
    assert not torch.equal(first, apply_chains(images, draw_chains(64, generator(2))))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_chain_with_replace_starts_from_the_replacement() -> None:
    images = digits(32)
    other = digits(64)[32:]
    assert torch.equal(apply_chains(images, chain(32, REPLACE), other), other)
    late = apply_chains(images, chain(32, "solarize", REPLACE, "shear_x"), other)
    assert torch.equal(late, apply_chains(other, chain(32, "solarize", "shear_x")))


def test_replace_beyond_the_depth_of_a_chain_does_not_count() -> None:
    images = digits(8)
    draws = chain(8, "posterize", REPLACE)
    draws.depth.fill_(1)
    assert torch.equal(apply_chains(images, draws, 255 - images), apply_chains(images, chain(8, "posterize")))


def test_a_fifth_of_the_chains_is_replaced_if_replace_is_one_of_ten_operators() -> None:
    black, white = torch.zeros(5000, 1, 4, 4, dtype=torch.uint8), torch.full((5000, 1, 4, 4), 255, dtype=torch.uint8)
    draws = draw_chains(5000, generator(), operators=("posterize",) * 9 + (REPLACE,))
    replaced = apply_chains(black, draws, white)[:, 0, 0, 0] > 0
    expected = sum(1 - 0.9**depth for depth in (1, 2, 3)) / 3
    assert replaced.float().mean().item() == pytest.approx(expected, abs=0.02)


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="twist"):
        draw_chains(1, generator(), operators=("rotate", "twist"))
    with pytest.raises(ValueError, match="severity"):
        draw_chains(1, generator(), severity=11)
    with pytest.raises(ValueError, match="depth"):
        draw_chains(1, generator(), depth=(3, 1))
    with pytest.raises(ValueError, match="replacement"):
        apply_chains(digits(1), chain(1, REPLACE))


def test_grey_levels_survive_the_way_to_float_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(augmix.to_uint8(augmix.to_float(levels)), levels)
    assert augmix.to_uint8(torch.tensor([-0.2, 0.0019, 0.0021, 1.3])).tolist() == [0, 0, 1, 255]


def test_mixing_weights_are_convex_and_the_last_chain_has_its_share() -> None:
    weights, m = draw_mix(10_000, 4, generator())
    assert weights.shape == (4, 10_000) and m.shape == (10_000,)
    assert weights.min() >= 0 and m.min() >= 0 and m.max() <= 1
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(10_000), atol=1e-6, rtol=0)
    assert (m * weights[-1]).mean().item() == pytest.approx(1 / 8, abs=0.01)
    # Dirichlet(1, 1, 1, 1): variance (1/4)(3/4)/5, which normalised uniform numbers miss.
    assert weights[0].var().item() == pytest.approx(0.0375, abs=0.002)


def test_mix_of_nothing_is_the_clean_image_and_of_one_chain_that_chain() -> None:
    clean = torch.rand(5, 3, 8, 8, generator=generator())
    chains = torch.rand(4, 5, 3, 8, 8, generator=generator(1))
    weights, _ = draw_mix(5, 4, generator(2))
    assert torch.equal(mix(clean, chains, weights, torch.zeros(5)), clean)
    last = torch.zeros(4, 5)
    last[-1] = 1
    assert torch.equal(mix(clean, chains, last, torch.ones(5)), chains[-1])


def test_mix_weighs_each_image_by_its_own_draws() -> None:
    clean = torch.tensor([[1.0], [2.0]])
    chains = torch.tensor([[[3.0], [4.0]], [[5.0], [8.0]]])
    mixed = mix(clean, chains, torch.tensor([[0.5, 0.25], [0.5, 0.75]]), torch.tensor([0.5, 0.1]))
    assert mixed.flatten().tolist() == pytest.approx([0.5 + 0.5 * 4, 0.9 * 2 + 0.1 * 7])
