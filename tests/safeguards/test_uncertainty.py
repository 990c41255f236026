"""The draws with which models are made to waver, and where there can be none."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from study.errors import NotApplicable
from study.models.classifier import Classifier
from study.models.mlp import MLP
from study.models.uncertain_votes import DropoutVote, PerturbationVote
from study.safeguards.uncertainty_dropout import UncertaintyDropout
from study.safeguards.uncertainty_perturbation import UncertaintyPerturbation
from tests.problems import SHAPE, digits_problem
from tests.safeguards.models import spoilt


def perturbed(safeguard: UncertaintyPerturbation) -> PerturbationVote:
    problem = digits_problem()
    vote = safeguard.guard(problem, spoilt(problem, 0.1))
    assert isinstance(vote, PerturbationVote)
    return vote


def test_noise_is_normal_with_the_deviation_asked_for() -> None:
    noise = perturbed(UncertaintyPerturbation(passes=50, sigma=0.3)).noise
    assert noise.shape == (50, *SHAPE)
    assert noise.mean().abs() < 0.02 and noise.std().item() == pytest.approx(0.3, abs=0.02)
    assert perturbed(UncertaintyPerturbation()).noise.std().item() == pytest.approx(0.01, abs=0.001)


def test_noise_is_in_units_of_what_the_network_sees() -> None:
    problem = digits_problem()
    net = MLP(input_shape=SHAPE, num_classes=10)
    net.blueprint = {"class": "study.models.mlp.MLP", "arguments": {"input_shape": SHAPE, "num_classes": 10}}
    scaled = dataclasses.replace(problem, faulty=Classifier(net, [0.0], [5.0]).eval())
    vote = UncertaintyPerturbation().guard(scaled, scaled.copy())
    assert isinstance(vote, PerturbationVote)
    assert vote.noise.allclose(5 * perturbed(UncertaintyPerturbation()).noise)


def test_units_are_dropped_at_the_rate_asked_for_in_each_model_by_itself() -> None:
    problem = digits_problem()
    vote = UncertaintyDropout(passes=50, rate=0.3).guard(problem, spoilt(problem, 0.1))
    assert isinstance(vote, DropoutVote)
    masks = vote.masks
    assert masks.shape == (2, 50, 32)
    assert masks.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert (masks == 0).double().mean().item() == pytest.approx(0.3, abs=0.03)
    assert not masks[0].equal(masks[1])


def test_tokens_take_no_noise() -> None:
    task = dataclasses.replace(digits_problem().task, kind="tokens")
    with pytest.raises(NotApplicable, match="inputs are tokens"):
        UncertaintyPerturbation().check(task)


@pytest.mark.parametrize(
    "model",
    [nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten()), nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Tanh())],
)
def test_dropout_needs_a_last_layer_that_gives_the_logits(model: nn.Module) -> None:
    task = dataclasses.replace(digits_problem().task, model=model.eval())
    with pytest.raises(NotApplicable, match="uncertainty_dropout drops what enters the last layer, and the"):
        UncertaintyDropout().check(task)
    with torch.no_grad():
        UncertaintyPerturbation().check(task)
