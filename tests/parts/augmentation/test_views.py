from __future__ import annotations

import torch

from study.parts.augmentation.mixing import Mixing
from study.parts.augmentation.views import Views


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_views_lie_one_after_the_other_behind_the_images() -> None:
    images = torch.rand(5, 1, 8, 8, generator=generator())
    views = Views(Mixing(width=1), 3, generator()).of(images)
    assert views.shape == (20, 1, 8, 8) and torch.equal(views[:5], images)
    nearest = torch.cdist(views[5:].flatten(1), images.flatten(1)).argmin(1)
    assert nearest.tolist() == [0, 1, 2, 3, 4] * 3


def test_views_are_drawn_anew_at_each_call() -> None:
    images = torch.rand(5, 1, 8, 8, generator=generator())
    views = Views(Mixing(width=1), 3, generator())
    first = views.of(images)
    assert not torch.equal(first, views.of(images))
    assert torch.equal(first, Views(Mixing(width=1), 3, generator()).of(images))
