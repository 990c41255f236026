"""Crops and mirrorings, checked pixel by pixel."""

from __future__ import annotations

import pytest
import torch

from study.problem.augmentation import Augmentation, Draws, augmentation
from study.runtime.randomness import stream


def drawn(top: int, left: int, flip: bool) -> Draws:
    return Draws(torch.tensor([top]), torch.tensor([left]), torch.tensor([flip]))


def test_centred_crop_changes_nothing() -> None:
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(Augmentation(flip=False).apply(images, drawn(2, 2, False)), images)


def test_crop_at_the_corner_shifts_and_pads_with_zeros() -> None:
    image = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    shifted = Augmentation(flip=False).apply(image, drawn(0, 2, False))
    assert shifted[0, 0].tolist() == [[0, 0, 0], [2, 3, 0], [5, 6, 0]]


def test_flip_mirrors_left_and_right() -> None:
    images = torch.rand(1, 3, 8, 8)
    assert torch.equal(Augmentation(flip=True).apply(images, drawn(1, 1, True)), images.flip(3))


def test_draws_of_a_batch_apply_to_each_image_on_its_own() -> None:
    images, transform = torch.rand(64, 2, 16, 24), Augmentation(flip=True)
    draws = transform.draw(images, stream(0, "test"))
    together = transform.apply(images, draws)
    for place in range(64):
        one = Draws(draws.top[place, None], draws.left[place, None], draws.flip[place, None])
        assert torch.equal(together[place], transform.apply(images[place, None], one)[0])


def test_draws_cover_every_offset_and_both_directions() -> None:
    draws = Augmentation(flip=True).draw(torch.zeros(2000, 1, 16, 16), stream(0, "test"))
    assert set(draws.top.tolist()) == set(draws.left.tolist()) == set(range(5))
    assert 0.4 < draws.flip.double().mean() < 0.6
    assert not torch.equal(draws.top, draws.left)


def test_without_flip_nothing_is_mirrored_and_the_crops_are_the_same() -> None:
    images = torch.zeros(100, 1, 16, 16)
    plain, mirrored = (Augmentation(flip=flip).draw(images, stream(0, "test")) for flip in (False, True))
    assert not plain.flip.any()
    assert torch.equal(plain.top, mirrored.top) and torch.equal(plain.left, mirrored.left)


def test_the_same_stream_gives_the_same_images() -> None:
    images, transform = torch.rand(10, 1, 8, 8), Augmentation(flip=True)
    first, second = (transform.apply(images, transform.draw(images, stream(3, "test"))) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("name", "expected"), [("none", None), ("crop", Augmentation(False)), ("crop_flip", Augmentation(True))]
)
def test_names(name: str, expected: Augmentation | None) -> None:
    assert augmentation(name) == expected
