"""Random affine maps of images."""

import pytest
import torch

from study.parts.augmentation.affine import Padding, RandomAffine, warp

STILL = RandomAffine(rotation=0, scale=0, shear=0, shift=0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("shape", [(6, 1, 28, 28), (6, 3, 32, 20)])
def test_no_rotation_scale_shear_or_shift_is_the_identity(shape: tuple[int, ...], padding: Padding) -> None:
    images = torch.rand(shape, generator=generator())
    still = RandomAffine(rotation=0, scale=0, shear=0, shift=0, padding=padding)
    torch.testing.assert_close(still.apply(images, still.draw(6, generator())), images, atol=1e-5, rtol=0)


def test_flip_mirrors_about_half_of_the_images_and_no_other() -> None:
    images = torch.rand(400, 1, 8, 8, generator=generator())
    flipping = RandomAffine(rotation=0, scale=0, shear=0, shift=0, flip=True)
    result = flipping.apply(images, flipping.draw(400, generator(1)))
    same = (result - images).abs().amax(dim=(1, 2, 3)) < 1e-5
    mirrored = (result - images.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-5
    assert torch.equal(same, ~mirrored)
    assert 160 < int(mirrored.sum()) < 240


def test_draws_stay_in_their_ranges_and_fill_them() -> None:
    theta = RandomAffine(rotation=12, scale=0, shear=0, shift=0.1).draw(2000, generator())
    degrees = torch.rad2deg(torch.atan2(theta[:, 1, 0], theta[:, 0, 0]))
    assert degrees.abs().max() <= 12.001
    assert degrees.min() < -11 and degrees.max() > 11
    shift = theta[:, :, 2] / 2
    assert shift.abs().max() <= 0.1 + 1e-6
    assert bool((shift.amin(dim=0) < -0.09).all()) and bool((shift.amax(dim=0) > 0.09).all())


def test_scale_sets_the_area_and_shear_keeps_it() -> None:
    theta = RandomAffine(rotation=15, scale=0.1, shear=0.3, shift=0).draw(500, generator())
    size = torch.linalg.det(theta[:, :, :2]).rsqrt()
    assert size.min() >= 0.9 - 1e-5 and size.max() <= 1.1 + 1e-5
    assert size.max() - size.min() > 0.15


def test_rotation_keeps_angles_on_images_that_are_not_square() -> None:
    # A horizontal bar of 9 x 1 pixels, turned by a right angle, is a vertical bar of the same length.
    images = torch.zeros(1, 1, 21, 41)
    images[:, :, 10, 16:25] = 1
    quarter = torch.tensor([[[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]])
    expected = torch.zeros_like(images)
    expected[:, :, 6:15, 20] = 1
    torch.testing.assert_close(STILL.apply(images, quarter), expected, atol=1e-4, rtol=0)


def test_padding_decides_what_lies_outside() -> None:
    images = torch.ones(1, 1, 4, 4)
    half_right = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])
    assert warp(images, half_right, "zeros")[0, 0, 0].tolist() == pytest.approx([1, 1, 0, 0], abs=1e-6)
    assert warp(images, half_right, "border")[0, 0, 0].tolist() == pytest.approx([1, 1, 1, 1])


def test_warp_agrees_with_torch_affine_grid() -> None:
    images = torch.rand(5, 3, 14, 11, generator=generator())
    theta = torch.eye(2, 3) + 0.2 * torch.randn(5, 2, 3, generator=generator(1))
    grid = torch.nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    expected = torch.nn.functional.grid_sample(images, grid, align_corners=False)
    torch.testing.assert_close(warp(images, theta), expected, atol=1e-4, rtol=0)


def test_the_generator_decides_the_draws_and_the_global_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    first, second = RandomAffine().draw(8, generator(3)), RandomAffine().draw(8, generator(3))
    assert torch.equal(first, second)
    assert not torch.equal(first, RandomAffine().draw(8, generator(4)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("channels", "padding"), [(1, "zeros"), (3, "border")])
def test_mild_maps_fit_the_ground_of_the_images(channels: int, padding: Padding) -> None:
    affine = RandomAffine.mild(channels, flip=True)
    assert (affine.padding, affine.flip, RandomAffine.mild(channels, flip=False).flip) == (padding, True, False)
    images = torch.rand(4, channels, 8, 8, generator=generator())
    expected = affine.apply(images, affine.draw(4, generator(1)))
    assert affine.distorted(images, generator(1)).equal(expected)
    assert not expected.equal(images)
