"""Wavelets that reconstruct exactly, and the statistics that style transfer must take over."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor
from torch.nn import functional

from study.parts.augmentation.style import HaarWCT, assembled, bands, padded, split, usual_levels


def noise(count: int, channels: int = 3, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed))


def photos(count: int = 40, side: int = 32) -> Tensor:
    """Pieces with some contrast of scikit-learn's two photographs, [count, 3, side, side] in [0, 1]."""
    whole = torch.stack([torch.from_numpy(image.copy()) for image in load_sample_images().images])
    images = functional.avg_pool2d(whole.permute(0, 3, 1, 2).float() / 255, 2)
    patches = images.unfold(2, side, side).unfold(3, side, side).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    patches = patches[patches.std((1, 2, 3)) > 0.1]
    return patches[torch.randperm(len(patches), generator=torch.Generator().manual_seed(0))[:count]]


def styled(images: Tensor, references: Tensor, **options: float) -> Tensor:
    """Each image in the style of the reference at its place."""
    return HaarWCT(references, **options)(images, torch.arange(len(images)))  # type: ignore[arg-type]


def test_a_level_is_the_haar_transform() -> None:
    low, details = split(torch.tensor([[[[1.0, 2.0], [3.0, 5.0]]]]))
    assert [band.item() for band in (low, *details)] == [5.5, -1.5, -2.5, 0.5]


@pytest.mark.parametrize(("side", "levels"), [(1, 0), (4, 1), (8, 2), (16, 2), (24, 3), (32, 3), (128, 4), (224, 4)])
def test_images_are_halved_as_often_as_their_smaller_side_allows(side: int, levels: int) -> None:
    assert usual_levels(side, 300) == usual_levels(300, side) == levels


@pytest.mark.parametrize(("height", "width"), [(28, 30), (8, 8), (25, 27), (29, 64)])
def test_bands_of_a_padded_image_reconstruct_it(height: int, width: int) -> None:
    images = noise(2, 3, height, width)
    levels = usual_levels(height, width)
    whole = padded(images, levels)
    assert whole.shape[2] % 2**levels == whole.shape[3] % 2**levels == 0
    parts = bands(whole, levels)
    assert len(parts) == 3 * levels + 1
    torch.testing.assert_close(assembled(parts), whole, atol=1e-6, rtol=0)


def test_padding_is_split_in_half_and_reflects() -> None:
    images = noise(1, 1, 28, 25)
    whole = padded(images, 3)
    assert whole.shape[2:] == (32, 32)
    assert torch.equal(whole[..., 2:30, 3:28], images)
    assert torch.equal(whole[..., 1, 3:28], images[..., 1, :])


@pytest.mark.parametrize(("height", "width"), [(28, 30), (32, 32), (8, 8), (25, 27), (3, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_without_style_or_in_its_own_style_an_image_stays(height: int, width: int, channels: int) -> None:
    images = noise(5, channels, height, width)
    torch.testing.assert_close(styled(images, images), images, atol=1e-5, rtol=0)
    torch.testing.assert_close(styled(images, images.flip(0), alpha=0), images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_bands_take_the_statistics_of_the_reference(channels: int) -> None:
    images, references = noise(30, channels), noise(30, channels, seed=1) ** 3
    ours, theirs = (bands(each, 3) for each in (styled(images, references), references))
    for band, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(band.mean((2, 3)), reference.mean((2, 3)), atol=1e-4, rtol=1e-3)
        covariances = [each.flatten(2).double() for each in (band, reference)]
        covariances = [(each - each.mean(2, keepdim=True)) for each in covariances]
        first, second = (each @ each.mT / (each.shape[2] - 1) for each in covariances)
        error = (first - second).norm(dim=(1, 2)) / second.norm(dim=(1, 2))
        assert error.median() < 0.01


def test_copies_take_contrast_sharpness_and_greyness_of_their_references() -> None:
    content = photos()
    other = content.roll(7, 0)
    faded = styled(content, 0.5 + 0.35 * (other - 0.5))
    deviation = (0.35 * other).std((1, 2, 3)).mean()
    assert faded.std((1, 2, 3)).mean() == pytest.approx(deviation.item(), rel=0.01)

    def finest(images: Tensor) -> float:
        return split(images)[1][2].square().mean().item()

    blurred = functional.avg_pool2d(functional.pad(other, (2, 2, 2, 2), mode="reflect"), 5, 1)
    assert finest(styled(content, blurred)) == pytest.approx(finest(blurred), abs=2e-4)
    assert finest(content) > 5 * finest(styled(content, blurred))
    grey = other.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    coloured = styled(content, grey)
    assert (coloured.amax(1) - coloured.amin(1)).mean() < 0.01 < (content.amax(1) - content.amin(1)).mean()


def test_each_image_takes_the_reference_it_is_given() -> None:
    images, references = noise(4), noise(3, seed=1)
    found = HaarWCT(references)(images, torch.tensor([2, 0, 2, 1]))
    for place, choice in enumerate([2, 0, 2, 1]):
        alone = styled(images[place : place + 1], references[choice : choice + 1])
        torch.testing.assert_close(found[place : place + 1], alone, atol=1e-5, rtol=0)


def test_flat_images_take_the_mean_and_stay_finite() -> None:
    found = styled(torch.zeros(2, 1, 28, 28), torch.full((2, 1, 28, 28), 0.7))
    torch.testing.assert_close(found, torch.full((2, 1, 28, 28), 0.7), atol=1e-5, rtol=0)
