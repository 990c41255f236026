import torch

from study.data.split import Split
from study.parts.selection.guides import Guides
from study.problem.augmentation import Augmentation


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_guide_has_the_class_of_its_image_and_is_another_image() -> None:
    labels = torch.tensor([3, 0, 3, 0, 3, 1])
    guides = Guides.of(Split("failing", torch.zeros(6, 1, 2, 2), labels), 5, same_class=True)
    asked = torch.tensor([3, 0, 1, 2, 4]).repeat(400)
    places, guided = guides.draw(asked, torch.full((2000,), -1), generator())
    assert torch.equal(guided, (asked != 2) & (asked != 4))
    assert torch.equal(labels[places[guided]], asked[guided])
    assert set(places[asked == 3].tolist()) == {0, 2, 4}
    members = torch.arange(6).repeat(300)
    places, guided = guides.draw(labels[members], members, generator())
    assert guided.all() and torch.equal(labels[places], labels[members])
    assert set(places[members == 2].tolist()) == {0, 4} and set(places[members == 4].tolist()) == {0, 2}
    assert set(places[members == 5].tolist()) == {5}  # alone in its class


def test_a_guide_of_any_class_is_any_other_failing_input() -> None:
    labels = torch.tensor([3, 0, 3])
    guides = Guides.of(Split("failing", torch.zeros(3, 1, 2, 2), labels), 5, same_class=False)
    members = torch.tensor([-1, 0, 1, 2]).repeat(200)
    places, guided = guides.draw(torch.full((800,), 4), members, generator())
    assert guided.all()
    assert [set(places[members == m].tolist()) for m in (-1, 0, 1, 2)] == [{0, 1, 2}, {1, 2}, {0, 2}, {0, 1}]


def test_its_images_are_fetched_and_transformed_each_by_a_draw_of_its_own() -> None:
    images, indices = torch.rand(4, 1, 8, 8, generator=generator()), torch.tensor([2, 0, 2])
    guides = Guides.of(Split("failing", images, torch.tensor([1, 0, 1, 1])), 2, same_class=True)
    assert torch.equal(guides.images(indices, None, generator()), images[indices])
    crop = Augmentation(flip=False)
    expected = crop.apply(images[indices], crop.draw(images[indices], generator(1)))
    assert torch.equal(guides.images(indices, crop, generator(1)), expected)
