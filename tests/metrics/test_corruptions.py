"""Corruptions against independent computations, and the accuracy on them against a literal count."""

import colorsys

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from study.errors import NotApplicable
from study.metrics.corruption_accuracy import CorruptionAccuracy
from study.metrics.corruptions import CORRUPTIONS, SEVERITIES, brightness, contrast, gaussian_blur
from study.metrics.sampling import Sample


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 4, channels: int = 3, side: int = 12) -> Tensor:
    return torch.rand(count, channels, side, side, generator=seeded(7))


def test_blur_is_scipys() -> None:
    images = pictures()
    blurred = gaussian_blur(images, 0.8, seeded())
    expected = gaussian_filter(images.numpy(), (0, 0, 0.8, 0.8), mode="nearest", truncate=4.0)
    assert np.allclose(blurred.numpy(), expected, atol=1e-5)


def test_brightness_raises_the_value_alone() -> None:
    images = pictures(1, 3, 5)
    images[0, :, 0, 0] = 0
    brighter = CORRUPTIONS["brightness"](images, 4, seeded())
    for place in np.ndindex(5, 5):
        hue, saturation, value = colorsys.rgb_to_hsv(*images[0, :, *place].tolist())
        expected = colorsys.hsv_to_rgb(hue, saturation, min(1.0, value + 0.3))
        assert brighter[0, :, *place].tolist() == pytest.approx(expected, abs=1e-5)
    grey = pictures(1, 1, 5)
    assert torch.allclose(brightness(grey, 0.1, seeded()), (grey + 0.1).clamp(max=1))


def test_contrast_moves_towards_the_mean_of_a_channel() -> None:
    images = pictures()
    flat = contrast(images, 0.15, seeded())
    assert torch.allclose(flat.mean(dim=(2, 3)), images.mean(dim=(2, 3)), atol=1e-6)
    assert torch.allclose(flat.std(dim=(2, 3)), 0.15 * images.std(dim=(2, 3)), atol=1e-6)


def test_noise_has_its_strength() -> None:
    images = torch.full((4, 1, 60, 60), 0.5)
    deviations = [CORRUPTIONS["gaussian_noise"](images, severity, seeded()).std().item() for severity in SEVERITIES]
    assert deviations == pytest.approx([0.04, 0.06, 0.08, 0.09, 0.10], rel=0.03)
    for severity, share in zip(SEVERITIES, (0.01, 0.02, 0.03, 0.05, 0.07), strict=True):
        hit = CORRUPTIONS["impulse_noise"](images, severity, seeded())
        assert (hit != 0.5).double().mean().item() == pytest.approx(share, abs=0.003)
        assert (hit == 1).sum().item() == pytest.approx((hit == 0).sum().item(), rel=0.35)
        assert hit.unique().tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_grows_with_its_severity_and_stays_in_range(name: str) -> None:
    images = pictures(8)
    before = images.clone()
    corrupted = [CORRUPTIONS[name](images, severity, seeded()) for severity in SEVERITIES]
    distances = [(some - images).norm().item() for some in corrupted]
    assert distances == sorted(distances) and 0 < distances[0] < distances[-1]
    assert all(some.min() >= 0 and some.max() <= 1 and some.shape == images.shape for some in corrupted)
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_large_images_are_corrupted_more(name: str) -> None:
    image = pictures(1, 3, 65)
    assert CORRUPTIONS[name].small != CORRUPTIONS[name].large
    large = CORRUPTIONS[name](image, 2, seeded())
    strength = CORRUPTIONS[name].large[2]
    assert torch.equal(large, CORRUPTIONS[name].transform(image, strength, seeded()).clamp(0, 1))
    small = CORRUPTIONS[name].transform(image[..., :64, :64], CORRUPTIONS[name].small[2], seeded()).clamp(0, 1)
    assert torch.equal(small, CORRUPTIONS[name](image[..., :64, :64], 2, seeded()))


class Bright(nn.Module):
    """Class 1 where the mean of the image is above a threshold."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        score = images.mean(dim=(1, 2, 3)) - self.threshold
        return torch.stack([-score, score], dim=1)


def graded(count: int = 60) -> Sample:
    level = torch.linspace(0.05, 0.95, count)
    images = level[:, None, None, None] * torch.ones(count, 1, 6, 6)
    return Sample(images, (level > 0.5).long(), torch.ones(count, dtype=torch.bool))


def test_accuracy_is_a_literal_count() -> None:
    sample, models = graded(), (Bright(0.5), Bright(0.62))
    metric = CorruptionAccuracy(batch_size=25)
    measured = metric.measured(*models, sample, None, seeded())
    level = sample.inputs[:, 0, 0, 0]
    added = torch.tensor([0.05, 0.1, 0.15, 0.2, 0.3])[:, None]
    for when, model in zip(("before", "after"), models, strict=True):
        right = ((level + added).clamp(max=1) > model.threshold).long() == sample.target
        assert measured.values[f"{when}/brightness_accuracy"] == pytest.approx(right.double().mean().item())
        # On a grey image blur and contrast change nothing.
        clean = ((level > model.threshold).long() == sample.target).double().mean().item()
        assert measured.values[f"{when}/contrast_accuracy"] == pytest.approx(clean)
        assert measured.values[f"{when}/gaussian_blur_accuracy"] == pytest.approx(clean)
        single = [measured.values[f"{when}/{name}_accuracy"] for name in CORRUPTIONS]
        assert measured.values[f"{when}/corruption_accuracy"] == pytest.approx(sum(single) / 5)
    assert {described.protocol for described in measured.descriptions.values()} == {"5 severities, 60 inputs"}


def test_both_models_see_the_same_images_of_a_seeded_sample() -> None:
    models = Bright(0.5), Bright(0.6)
    values = [CorruptionAccuracy(samples=20).measured(*models, graded(), None, seeded()).values for _ in range(2)]
    assert values[0] == values[1]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(models[0].seen, models[1].seen, strict=True))
    assert {len(images) for images in models[0].seen} == {20}
    other = Bright(0.5)
    CorruptionAccuracy(samples=20).measured(other, other, graded(), None, seeded(1))
    assert not torch.equal(other.seen[0], models[0].seen[0])


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        (torch.rand(5, 7), "not images"),
        (torch.ones(5, 7, dtype=torch.long), "not images"),
        (torch.randn(5, 3, 8, 8), r"do not lie in \[0, 1\]"),
        (torch.rand(0, 3, 8, 8), "no test inputs"),
    ],
)
def test_what_it_does_not_apply_to(inputs: Tensor, reason: str) -> None:
    target = torch.zeros(len(inputs), dtype=torch.long)
    with pytest.raises(NotApplicable, match=reason):
        CorruptionAccuracy().measured(Bright(0), Bright(0), Sample(inputs, target, target == 0), None, seeded())
