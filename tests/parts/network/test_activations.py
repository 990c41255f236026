"""Activations of a frozen prefix."""

from __future__ import annotations

import torch

from study.parts.network.activations import activations
from study.parts.network.structure import Structure
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
