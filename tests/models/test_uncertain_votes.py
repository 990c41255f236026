"""Votes weighed by how much each model's answer wavers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from study.models.uncertain_votes import DropoutVote, PerturbationVote, weighted
from study.runtime.randomness import stream
from study.storage.models import load_model, save_model
from tests.models.test_votes import INPUTS, models
from tests.problems import SHAPE

LAST = "net.layers.5"
Maker = Callable[[float], PerturbationVote | DropoutVote]


def literal(old: Tensor, new: Tensor) -> Tensor:
    """Probabilities [B, C] of the rule as its authors' code has it, from logits [T, B, C], in loops."""
    rows = []
    for b in range(old.shape[1]):
        means, variances = [], []
        for logits in (old[:, b], new[:, b]):
            p = logits.double().softmax(1)
            mean = p.sum(0) / len(p)
            variances.append(float(min(max(sum((p**2).sum(0) / len(p) - mean**2), 1e-3), 1 - 1e-3)))
            means.append(mean)
        w0 = variances[1] / (2 * (variances[0] + variances[1]))
        w1 = variances[0] / (2 * (variances[0] + variances[1])) + 0.5
        assert w0 + w1 == pytest.approx(1) and w1 > 0.5
        rows.append(w0 * means[0] + w1 * means[1])
    return torch.stack(rows).float()


def perturbing(scale: float, passes: int = 4) -> PerturbationVote:
    before, after = models(2)
    vote = PerturbationVote(before, after, SHAPE, passes).eval()
    vote.noise.copy_(scale * torch.randn(passes, *SHAPE, generator=stream(0, "noise")))
    return vote


def dropping(rate: float, passes: int = 4) -> DropoutVote:
    before, after = models(2)
    vote = DropoutVote(before, after, LAST, passes).eval()
    kept = torch.rand(vote.masks.shape, generator=stream(0, "masks")) >= rate
    vote.masks.copy_(kept / (1 - rate))
    return vote


def under(model: nn.Module, mask: Tensor, inputs: Tensor) -> Tensor:
    """Logits with what enters the last layer multiplied by a mask [F]."""
    hook = model.get_submodule(LAST).register_forward_pre_hook(lambda _, arguments: (arguments[0] * mask,))
    logits: Tensor = model(inputs)
    hook.remove()
    return logits


def test_the_weights_are_those_of_the_rule() -> None:
    scale = torch.logspace(-2, 0.5, 40).view(1, 1, 40, 1)  # from answers that hardly waver, and are clamped, on
    old, new = torch.randn(2, 1, 40, 5, generator=stream(0, "means")) + scale * torch.randn(
        2, 6, 40, 5, generator=stream(0, "passes")
    )
    given = weighted(old.log_softmax(2), new.log_softmax(2), prior=0.5, least_variance=1e-3)
    assert given.exp().allclose(literal(old, new), atol=1e-6)
    assert given.exp().sum(1).allclose(torch.ones(40))


def test_each_model_is_run_under_the_same_noise() -> None:
    vote = perturbing(0.5)
    old, new = (torch.stack([model(INPUTS + noise) for noise in vote.noise]) for model in (vote.before, vote.after))
    assert vote(INPUTS).exp().allclose(literal(old, new), atol=1e-6)
    assert not vote(INPUTS).allclose(perturbing(0.0)(INPUTS), atol=1e-3)


def test_each_model_drops_what_enters_its_last_layer() -> None:
    vote = dropping(0.4)
    old, new = (
        torch.stack([under(model, mask, INPUTS) for mask in masks])
        for model, masks in zip((vote.before, vote.after), vote.masks, strict=True)
    )
    assert vote(INPUTS).exp().allclose(literal(old, new), atol=1e-6)
    assert not vote(INPUTS).allclose(dropping(0.0)(INPUTS), atol=1e-3)


@pytest.mark.parametrize("make", [perturbing, dropping])
def test_without_noise_the_repaired_model_has_three_quarters(make: Maker) -> None:
    vote = make(0.0)
    expected = 0.25 * vote.before(INPUTS).softmax(1) + 0.75 * vote.after(INPUTS).softmax(1)
    assert vote(INPUTS).exp().allclose(expected, atol=1e-6)


@pytest.mark.parametrize("make", [perturbing, dropping])
def test_it_is_a_function_of_the_input_alone_that_can_be_attacked_and_stored(make: Maker, tmp_path: Path) -> None:
    vote = make(0.2)
    logits = vote(INPUTS)
    assert vote(INPUTS).equal(logits)
    assert torch.cat([vote(part) for part in INPUTS.split(7)]).allclose(logits, atol=1e-5)
    inputs = (100 * INPUTS).requires_grad_()  # far from any training: saturated
    (gradient,) = torch.autograd.grad(vote(inputs)[:, 3].sum(), inputs)
    assert gradient.isfinite().all() and gradient.abs().amax() > 0
    save_model(vote, tmp_path)
    assert load_model(tmp_path)(INPUTS).equal(logits)
