import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from study.parts.training.consistency import consistency_loss, jensen_shannon
from tests.problems import digits_splits


def logits(views: int, scale: float = 3.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [scale * torch.randn(16, 10, generator=generator) for _ in range(views)]


def test_equal_views_are_consistent() -> None:
    view = logits(1)[0]
    assert jensen_shannon([view, view.clone(), view.clone()]).item() == pytest.approx(0, abs=1e-6)


def test_views_that_share_no_class_reach_the_upper_bound() -> None:
    views = [100 * functional.one_hot(torch.full((5,), c), 10).float() for c in range(3)]
    assert jensen_shannon(views).item() == pytest.approx(math.log(3), abs=1e-5)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 1000.0])
def test_never_more_than_log_of_the_number_of_views(scale: float) -> None:
    value = jensen_shannon(logits(3, scale)).item()
    assert 0 < value <= math.log(3) + 1e-6


def test_two_views_by_hand() -> None:
    # p = (3/4, 1/4) and (1/4, 3/4), mean (1/2, 1/2): KL = 3/4 log 3/2 + 1/4 log 1/2 for both.
    views = [torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([[0.0, math.log(3.0)]])]
    assert jensen_shannon(views).item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-6)


def test_agrees_with_the_kl_divergences_of_torch() -> None:
    views = logits(3)
    probabilities = [view.softmax(dim=1) for view in views]
    log_mean = torch.stack(probabilities).mean(dim=0).clamp(1e-7, 1).log()
    divergences = [functional.kl_div(log_mean, p, reduction="batchmean") for p in probabilities]
    torch.testing.assert_close(jensen_shannon(views), torch.stack(divergences).mean())


def test_descending_its_gradient_makes_views_agree() -> None:
    views = [view.requires_grad_() for view in logits(3)]
    before = jensen_shannon(views)
    gradients = torch.autograd.grad(before, views)
    assert all(bool(gradient.abs().sum() > 0) for gradient in gradients)
    after = jensen_shannon([view - gradient for view, gradient in zip(views, gradients, strict=True)])
    assert after.item() < before.item()


def test_the_gradient_stays_finite_on_saturated_logits() -> None:
    views = [view.requires_grad_() for view in logits(3, scale=1000.0)]
    gradients = torch.autograd.grad(jensen_shannon(views), views)
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def test_equal_views_cost_cross_entropy_alone() -> None:
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), digits_splits()["train"].tensors().inputs[:32]
    labels = digits_splits()["train"].labels[:32]
    loss = consistency_loss(model, images, images.repeat(2, 1, 1, 1), labels, 12.0)
    torch.testing.assert_close(loss, functional.cross_entropy(model(images), labels))


def test_the_consistency_term_is_weighted_and_at_most_log_3() -> None:
    model = nn.Flatten()  # the images are the logits
    clean, first, second = (1000 * torch.eye(3)[[index]] for index in range(3))
    labels = torch.tensor([0])
    loss = consistency_loss(model, clean, torch.cat([first, second]), labels, 12.0)
    assert loss.item() == pytest.approx(12 * math.log(3), rel=1e-5)


def test_views_of_an_image_are_compared_with_each_other_not_with_another_image() -> None:
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), digits_splits()["train"].tensors().inputs[:32]
    labels = digits_splits()["train"].labels[:32]
    aligned = consistency_loss(model, images, torch.cat([images, images]), labels, 12.0)
    shifted = consistency_loss(model, images, torch.cat([images, images.roll(1, 0)]), labels, 12.0)
    assert shifted > aligned + 0.01
