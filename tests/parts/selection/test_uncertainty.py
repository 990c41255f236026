from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.parts.augmentation.mixing import Mixing
from study.parts.augmentation.views import Views
from study.parts.selection.uncertainty import nearest_distance, relative, threshold, view_entropy
from tests.problems import digits_problem

MIXING = Mixing(width=1)


class Negative:
    """Views in place of AugMix's: the negative of an image."""

    def view(self, images: Tensor, generator: torch.Generator, *, count: int) -> Tensor:
        return 1 - images.repeat(count, 1, 1, 1)


class Brightness(nn.Module):
    """Gives the brightness of a single pixel as the probability of class 0."""

    def forward(self, inputs: Tensor) -> Tensor:
        bright = inputs.flatten(1)[:, :1]
        return torch.cat([bright, 1 - bright], dim=1).log()


class Constant(nn.Module):
    """The same logits for every input."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.logits.expand(len(inputs), -1)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def split(images: Tensor) -> Split:
    return Split("pool", images, torch.zeros(len(images), dtype=torch.int64))


@pytest.mark.parametrize(("views", "probability"), [(1, 0.5), (3, 0.625)])
def test_entropy_is_that_of_the_mean_over_the_image_and_its_views(views: int, probability: float) -> None:
    mixing: Any = Negative()
    pool = split(torch.tensor([0.25, 1.0]).view(2, 1, 1, 1))
    entropy = view_entropy(Brightness(), pool, Views(mixing, views, generator()))
    other = 1 - probability
    assert entropy[0].item() == pytest.approx(-probability * math.log2(probability) - other * math.log2(other))
    share = views / (views + 1)  # of the negative, whose brightness is 0: a probability that underflows
    white = -(1 - share) * math.log2(1 - share) - share * math.log2(share)
    assert entropy[1].item() == pytest.approx(white)


def test_a_constant_answer_is_as_uncertain_everywhere_and_a_one_hot_one_nowhere() -> None:
    pool = split(torch.rand(7, 1, 8, 8, generator=generator()))
    even = view_entropy(Constant(0.0, 0.0, 0.0, 0.0), pool, Views(MIXING, 4, generator()))
    assert even.tolist() == pytest.approx([2.0] * 7) and relative(even).tolist() == [1.0] * 7
    sure = view_entropy(Constant(0.0, 200.0), pool, Views(MIXING, 4, generator()))
    assert sure.tolist() == relative(sure).tolist() == [0.0] * 7


def test_uncertainty_lies_between_0_and_1_is_higher_where_the_model_errs_and_changes_nothing() -> None:
    problem = digits_problem(batch_norm=True)
    model = problem.copy()
    model.train()
    entropy = view_entropy(model, problem.repair_set, Views(MIXING, 4, generator()))
    u = relative(entropy)
    assert len(u) == 400 and u.min() >= 0 and u.max() == 1
    assert u[problem.failing].mean() > 2 * u[problem.passing].mean()
    assert all(module.training for module in model.modules())
    assert all(torch.equal(old, new) for old, new in zip(problem.faulty.buffers(), model.buffers(), strict=True))
    torch.testing.assert_close(entropy, view_entropy(problem.faulty, problem.repair_set, Views(MIXING, 4, generator())))


def test_distance_is_the_mean_cosine_distance_to_the_nearest() -> None:
    reference = torch.tensor([[1.0, 0.0], [0.0, 3.0], [-2.0, 0.0]])
    queries = torch.tensor([[5.0, 0.0], [0.0, -1.0]])
    for neighbours, expected in ((1, [0.0, 1.0]), (2, [0.5, 1.0]), (100, [1.0, 4 / 3])):
        assert nearest_distance(queries, reference, neighbours).tolist() == pytest.approx(expected)


def test_distance_in_parts_is_that_of_the_whole_matrix() -> None:
    random = generator()
    queries, reference = torch.randn(600, 5, generator=random), torch.randn(300, 5, generator=random)
    cosine = functional.cosine_similarity(queries[:, None], reference[None], dim=2)
    expected = (1 - cosine).sort(dim=1).values[:, :100].mean(1)
    torch.testing.assert_close(nearest_distance(queries, reference, 100), expected)


def test_tau_is_the_mean_uncertainty_at_ordinary_density() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])  # distances 0, 1, 2, 1 to the reference
    u = torch.tensor([0.9, 0.2, 1.0, 0.4])
    reference = torch.tensor([[2.0, 0.0]])
    assert threshold(u, logits, reference, 1, 2).item() == pytest.approx(0.3)
    assert threshold(u, logits, reference, 1, 1).item() == pytest.approx(0.2)
    assert threshold(u, logits, reference, 1, 1000).item() == pytest.approx(0.625)
