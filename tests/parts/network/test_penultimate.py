from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from study.errors import NotApplicable
from study.parts.network.penultimate import penultimate
from tests.networks import Plain
from tests.problems import digits_problem


def test_features_of_a_network_that_cannot_be_traced_are_what_enters_its_last_layer() -> None:
    split, model = digits_problem().repair_set, Plain().eval()
    features = penultimate(model, split)
    hidden = functional.relu(model.hidden(split.tensors().inputs.flatten(1))).detach()
    torch.testing.assert_close(features, functional.normalize(hidden))
    assert features.shape == (400, 32)


def test_features_are_of_length_1_and_the_network_stays_as_it_is() -> None:
    problem = digits_problem(batch_norm=True)
    before = [tensor.clone() for tensor in problem.faulty.state_dict().values()]
    features = penultimate(problem.faulty, problem.repair_set)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(400))
    assert all(map(torch.equal, before, problem.faulty.state_dict().values()))
    assert not problem.faulty.training and not any(module._forward_pre_hooks for module in problem.faulty.modules())


def test_one_input_is_enough() -> None:
    problem = digits_problem()
    one = penultimate(problem.faulty, problem.repair_set.subset(torch.tensor([5])))
    torch.testing.assert_close(one, penultimate(problem.faulty, problem.repair_set)[5:6])


def test_a_network_without_a_linear_layer_has_none() -> None:
    with pytest.raises(NotApplicable, match="no Linear"):
        penultimate(nn.Flatten(), digits_problem().repair_set)
