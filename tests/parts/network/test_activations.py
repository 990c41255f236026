"""What a network computes at a layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Split
from study.errors import NotApplicable
from study.parts.network.activations import activations, entering, penultimate
from study.parts.network.structure import Structure
from tests.networks import Plain
from tests.problems import digits_problem


def test_activations_are_what_enters_the_layer_in_the_order_asked_for() -> None:
    problem = digits_problem(batch_norm=True)
    structure = Structure(problem.faulty)
    prefix = structure.prefix(structure.layers[-1].node)
    everything = activations(prefix, problem.repair_set)
    assert everything.shape == (400, 32) and not everything.requires_grad
    seen: list[torch.Tensor] = []
    hook = structure.layers[-1].module.register_forward_hook(lambda _, arguments, __: seen.append(arguments[0]))
    with torch.no_grad():
        problem.faulty(problem.repair_set.tensors().inputs)
    hook.remove()
    assert torch.equal(everything, seen[0])
    failing = problem.failing.flip(0)
    assert torch.allclose(activations(prefix, problem.repair_set, failing), everything[failing], atol=1e-6)


def test_activations_can_enter_a_computation_with_gradients() -> None:
    problem = digits_problem()
    structure = Structure(problem.faulty)
    values = activations(structure.prefix(structure.layers[-1].node), problem.repair_set, problem.failing)
    weight = torch.ones(32, requires_grad=True)
    (values * weight).sum().backward()
    assert torch.allclose(weight.grad, values.sum(0))  # type: ignore[arg-type]


def test_what_enters_a_layer_is_the_output_of_its_prefix_in_the_order_asked_for() -> None:
    problem = digits_problem(batch_norm=True)
    structure = Structure(problem.faulty)
    for layer in structure.layers:
        prefix = structure.prefix(layer.node)
        for indices in (None, problem.failing.flip(0)):
            values = entering(problem.faulty, layer.name, problem.repair_set, indices)
            assert torch.equal(values, activations(prefix, problem.repair_set, indices))
    assert not any(module._forward_pre_hooks for module in problem.faulty.modules())


def test_what_enters_a_layer_keeps_its_shape_whatever_the_number_of_batches() -> None:
    images = torch.rand(2300, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten())
    values = entering(model, "1", Split("many", images, torch.zeros(2300).long()))
    assert values.shape == (2300, 3, 6, 6)
    torch.testing.assert_close(values, model[0](images).detach())
    assert all(module.training for module in model.modules())  # the mode it was in


def test_what_enters_a_layer_is_seen_before_the_layer_changes_it() -> None:
    split = digits_problem().repair_set
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(inplace=True))
    assert torch.equal(entering(model, "2", split), model[1](split.tensors().inputs.flatten(1)).detach())


class Keyword(nn.Module):
    """Hands its layer the input by name, and runs it twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, inputs: Tensor) -> Tensor:
        once = self.layer(input=inputs.flatten(1))
        twice: Tensor = self.layer(input=once)
        return twice


def test_of_a_layer_that_runs_twice_it_is_the_last_input() -> None:
    split, model = digits_problem().repair_set, Keyword().eval()
    assert torch.equal(entering(model, "layer", split), model.layer(split.tensors().inputs.flatten(1)).detach())


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
