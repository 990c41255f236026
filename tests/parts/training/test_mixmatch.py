from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.parts.training.mixmatch import guessed, mixed_up, mixmatch_loss, mixup_shares, sharpened, smoothed


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_smoothed_targets_leave_the_rest_to_the_other_classes() -> None:
    assert smoothed(torch.tensor([2, 0]), 3, 0.1).tolist() == [
        pytest.approx([0.05, 0.05, 0.9]),
        pytest.approx([0.9, 0.05, 0.05]),
    ]
    assert smoothed(torch.tensor([1]), 2, 0.0).tolist() == [[0.0, 1.0]]


def test_sharpening_squares_and_keeps_the_most_probable_class() -> None:
    q = torch.randn(200, 10, generator=generator()).softmax(1)
    sharp = sharpened(q, 0.5)
    torch.testing.assert_close(sharp, q.square() / q.square().sum(1, keepdim=True))
    torch.testing.assert_close(sharp.sum(1), torch.ones(200))
    assert torch.equal(sharp.argmax(1), q.argmax(1))
    torch.testing.assert_close(sharpened(q, 1.0), q)
    assert sharpened(torch.tensor([[0.0, 1.0]]), 0.5).tolist() == [[0.0, 1.0]]


def test_a_guess_is_the_sharpened_mean_over_the_views_of_an_item() -> None:
    logits = torch.randn(2 * 3, 4, generator=generator(), requires_grad=True)  # two views of three items
    guess = guessed(nn.Identity(), logits, 3, 0.5)
    mean = (logits[:3].softmax(1) + logits[3:].softmax(1)) / 2
    torch.testing.assert_close(guess, sharpened(mean.detach(), 0.5))
    assert not guess.requires_grad


def test_the_larger_share_is_a_rows_own() -> None:
    shares = mixup_shares(2000, 0.75, np.random.default_rng(0))
    assert all(0.5 <= share <= 1 for share in shares) and len(set(shares)) > 1900
    draws = np.random.default_rng(1).beta(0.75, 0.75, 50_000)
    assert np.mean(shares) == pytest.approx(np.maximum(draws, 1 - draws).mean(), abs=0.01)
    assert shares[:5] == mixup_shares(5, 0.75, np.random.default_rng(0))


def test_mixing_up_is_linear() -> None:
    rows, order = torch.tensor([[0.0, 1.0], [1.0, 0.0], [4.0, 4.0]]), torch.tensor([2, 0, 1])
    assert mixed_up(rows, order, 0.75).tolist() == [[1.0, 1.75], [0.75, 0.25], [3.25, 3.0]]
    assert torch.equal(mixed_up(rows, order, 1.0), rows)


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_the_loss_holds_mixed_rows_to_labels_and_to_mixed_targets(share: float) -> None:
    random = generator()
    labelled, others = torch.randn(2, 3, generator=random), torch.randn(4, 3, generator=random)
    labels, targets = torch.tensor([2, 0]), torch.rand(4, 3, generator=random).softmax(1)
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    loss = mixmatch_loss(nn.Identity(), (labelled, labels), (others, targets), share=share, order=order, weight=100.0)

    def mixed(rows: Tensor) -> Tensor:
        return share * rows + (1 - share) * rows[order]

    logits = mixed(torch.cat([labelled, others]))
    wanted = mixed(torch.cat([torch.eye(3)[labels], targets]))
    error = sum((logits[row].softmax(0) - wanted[row]).pow(2).sum() for row in range(2, 6)) / (4 * 3)
    supervised = functional.cross_entropy(logits[:2], labels)
    torch.testing.assert_close(loss, supervised + 100 * error)
