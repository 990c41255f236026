from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.parts.augmentation.mixing import Mixing
from study.parts.augmentation.views import Views
from study.parts.training.label_smoothing import smoothed
from study.parts.training.mixmatch import (
    MixMatch,
    MixMatchSettings,
    SemiSupervisedBatches,
    guessed,
    mixed_up,
    mixmatch_loss,
    mixup_share,
    sharpened,
)
from study.problem.problem import Problem
from tests.fitting import fitted
from tests.problems import digits_problem

SETTINGS = MixMatchSettings(temperature=0.5, alpha=0.75, weight=100.0, smoothing=0.1)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


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
    shares = mixup_shares(2000, 0)
    assert all(0.5 <= share <= 1 for share in shares) and len(set(shares)) > 1900
    draws = np.random.default_rng(1).beta(0.75, 0.75, 50_000)
    assert np.mean(shares) == pytest.approx(np.maximum(draws, 1 - draws).mean(), abs=0.01)
    assert shares[:5] == mixup_shares(5, 0)


def mixup_shares(count: int, seed: int) -> list[float]:
    draws = np.random.default_rng(seed)
    return [mixup_share(0.75, draws) for _ in range(count)]


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


def batches(problem: Problem, steps: int, weights: Tensor | None = None, known: int = 50) -> SemiSupervisedBatches:
    """Labelled batches of 300 training items, and the repair inputs with the first labels known."""
    labels = torch.where(torch.arange(400) < known, problem.repair_set.labels, -1)
    pool = Split("pool", problem.repair_set.tensors().inputs, labels)
    labelled = problem.train.batches(64, generator(), drop_last=True, within=torch.arange(300))
    weights = torch.ones(400) if weights is None else weights
    return SemiSupervisedBatches(labelled, pool, weights, size=32, steps=steps, generator=generator())


def test_labelled_batches_start_again_and_pool_items_are_drawn_by_weight() -> None:
    weights = torch.zeros(400)
    weights[100:200], weights[200:300] = 0.5, 1.0
    pairs = batches(digits_problem(), 9, weights)
    assert len(pairs) == len(list(pairs)) == 9  # of 4 batches in a pass
    drawn = torch.cat([unlabelled.indices for _ in range(20) for _, unlabelled in pairs])
    assert len(drawn) == 20 * 9 * 32 and drawn.min() >= 100 and drawn.max() < 300
    assert (drawn >= 200).double().mean() == pytest.approx(2 / 3, abs=0.02)
    labelled = [batch.indices for batch, _ in pairs]
    passes = [torch.cat(labelled[first : first + 4]) for first in (0, 4)]
    assert all(len(each.unique()) == 256 and int(each.max()) < 300 for each in passes)
    assert not torch.equal(passes[0], passes[1])


def training(problem: Problem, model: nn.Module, steps: int = 3) -> MixMatch:
    return MixMatch(
        model,
        batches(problem, steps),
        torch.optim.SGD(model.parameters(), 0.05, 0.9),
        SETTINGS,
        views=Views(Mixing(width=1), 2, generator()),
        generator=generator(),
        shares=np.random.default_rng(0),
    )


def test_known_labels_are_smoothed_and_the_others_guessed() -> None:
    problem = digits_problem()
    views = problem.repair_set.fetch(torch.arange(6).repeat(3)).inputs
    labels = torch.tensor([3, -1, 0, -1, -1, 9])
    targets = training(problem, problem.copy()).targets(labels, views)
    guess = guessed(problem.faulty, views, 6, 0.5)
    assert torch.equal(targets[labels < 0], guess[labels < 0])
    assert torch.equal(targets[labels >= 0], smoothed(torch.tensor([3, 0, 9]), 10, 0.1))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_equals_a_bare_training_loop(batch_norm: bool) -> None:
    problem = digits_problem(batch_norm=batch_norm)
    model, other = problem.copy(), problem.copy().train()
    ours = training(problem, model)
    fitted(ours)
    views, order, shares = Views(Mixing(width=1), 2, generator()), generator(), np.random.default_rng(0)
    optimizer, losses = torch.optim.SGD(other.parameters(), 0.05, 0.9), []
    for labelled, drawn in batches(problem, 3):
        seen = views.of(drawn.inputs)
        rows = torch.randperm(64 + 96, generator=order)
        guess = guessed(other, seen, 32, 0.5)
        known = smoothed(drawn.labels.clamp(min=0), 10, 0.1)
        targets = torch.where((drawn.labels >= 0)[:, None], known, guess).repeat(3, 1)
        pair = (labelled.inputs, labelled.labels), (seen, targets)
        loss = mixmatch_loss(other, *pair, share=mixup_share(0.75, shares), order=rows, weight=100.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    assert ours.steps_taken == 3
    for tensor, expected in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(tensor, expected)
    torch.testing.assert_close(ours.mean_loss, torch.stack(losses).mean())
    assert not any(module.training for module in model.modules())
