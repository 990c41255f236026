import torch

from study.parts.augmentation.drawn_transform import drawn_transform
from study.problem.augmentation import Augmentation


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_what_was_drawn_is_the_same_for_every_image_that_it_is_applied_to() -> None:
    images = torch.rand(30, 1, 8, 8, generator=generator())
    transform = drawn_transform(Augmentation(flip=True), images, generator(1))
    first = transform(images)
    assert torch.equal(first, transform(images)) and not torch.equal(first, images)
    torch.testing.assert_close(transform(images / 2), first / 2)
    assert not torch.equal(first, drawn_transform(Augmentation(flip=True), images, generator(2))(images))


def test_without_a_transform_images_stay_and_nothing_is_drawn() -> None:
    images, random = torch.rand(3, 1, 8, 8), generator()
    assert drawn_transform(None, images, random)(images) is images
    assert torch.equal(random.get_state(), generator().get_state())
