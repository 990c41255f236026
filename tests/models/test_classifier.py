"""The subject's model: natural inputs, and a state that knows nothing of normalisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from study.models.classifier import Classifier, Normalise
from study.models.mlp import MLP
from study.storage.blueprint import from_blueprint

ARGUMENTS: dict[str, Any] = {"input_shape": [2, 4, 4], "num_classes": 3}


def net() -> MLP:
    made = MLP(**ARGUMENTS)
    made.blueprint = {"class": "study.models.mlp.MLP", "arguments": ARGUMENTS}  # type: ignore[assignment]
    return made


def test_channels_are_normalised_by_their_own_mean_and_deviation() -> None:
    inputs = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1).expand(3, 2, 4, 4)
    result = Normalise([0.5, 1.0], [0.25, 4.0])(inputs)
    assert torch.equal(result, torch.tensor([2.0, 0.25]).view(1, 2, 1, 1).expand(3, 2, 4, 4))


def test_the_network_sees_normalised_inputs() -> None:
    inner, inputs = net(), torch.rand(5, 2, 4, 4)
    subject = Classifier(inner, [0.1, 0.2], [0.5, 2.0])
    assert torch.equal(subject(inputs), inner(Normalise([0.1, 0.2], [0.5, 2.0])(inputs)))


def test_without_mean_inputs_reach_the_network_as_they_are() -> None:
    inner, inputs = net(), torch.rand(5, 2, 4, 4)
    subject = Classifier(inner)
    assert isinstance(subject.normalise, nn.Identity)
    assert torch.equal(subject(inputs), inner(inputs))


def test_the_state_is_that_of_the_network_alone() -> None:
    inner = net()
    assert list(Classifier(inner, [0.0], [1.0]).state_dict()) == [f"net.{name}" for name in inner.state_dict()]


def test_normalisation_follows_the_model_to_another_type() -> None:
    subject = Classifier(net(), [0.1, 0.2], [0.5, 2.0]).double()
    assert subject(torch.rand(5, 2, 4, 4, dtype=torch.float64)).dtype == torch.float64


def test_the_blueprint_builds_the_same_model() -> None:
    for scale in ((), ([0.1, 0.2], [0.5, 2.0])):
        subject, inputs = Classifier(net(), *scale), torch.rand(5, 2, 4, 4)
        twin = from_blueprint(subject.blueprint)
        twin.load_state_dict(subject.state_dict())
        assert torch.equal(twin(inputs), subject(inputs))
        assert twin.blueprint == subject.blueprint
