"""Passes over one input: exact for known steps and parts of a network, and of a whole network as torch counts them."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.utils.flop_counter import FlopCounterMode

from study.methods.model_level.finetune import Finetune
from study.parts.network.structure import Structure
from study.problem.problem import Problem
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.repairs.passes import Passes
from study.repairs.run import run_repair
from study.runtime.settings import settings
from tests.problems import HARDWARE, digits_problem


def small() -> nn.Sequential:
    """4 x 3 and 3 x 2 multiply-adds."""
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def counted(passes: Passes) -> tuple[float, float]:
    costs = passes.costs()
    return costs["forward_passes"], costs["backward_passes"]


def test_a_training_costs_its_epochs_over_its_inputs_and_validates_without_gradients() -> None:
    problem = digits_problem()
    trained, validated = len(problem.train) + len(problem.repair_set), len(problem.validation)
    costs = run_repair(Finetune(epochs=2), problem, HARDWARE).costs
    assert costs["forward_passes"] == 2 * (trained + validated)
    assert costs["backward_passes"] == 2 * trained


@settings
class Crashing(Approach):
    """Runs the model on 5 inputs, then fails in a way that nobody foresaw."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "test"

    def repair(self, problem: Problem) -> Repair:
        problem.faulty(problem.train.tensors().inputs[:5])
        yield {"round": 1.0}
        raise ZeroDivisionError
        return Repaired(problem.copy())


def test_after_a_crash_nothing_is_counted_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, made = digits_problem(), list[Passes]()

    def keep(*arguments: object) -> Passes:
        made.append(Passes(*arguments))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr("study.repairs.run.Passes", keep)
    with pytest.raises(ZeroDivisionError):
        run_repair(Crashing(), problem, HARDWARE)
    problem.faulty(problem.train.tensors().inputs[:7])
    assert counted(made[0]) == (5, 5)


def test_a_part_of_the_network_counts_as_that_part() -> None:
    net = small()
    structure, inputs = Structure(net), torch.rand(10, 4)
    prefix, suffix = structure.cut(structure.layers[-1].node)
    with Passes(net, inputs[:1]) as passes, torch.no_grad():
        features = prefix(inputs)
        assert counted(passes) == pytest.approx((10 * 12 / 18, 0))
        for _ in range(3):
            suffix(features)
    assert counted(passes) == pytest.approx((10 * 12 / 18 + 3 * 10 * 6 / 18, 0))


def test_only_what_is_to_be_differentiated_has_a_backward_pass() -> None:
    net = small()
    net[0].requires_grad_(False)
    with Passes(net, torch.rand(1, 4)) as passes:
        net(torch.rand(6, 4))
    assert counted(passes) == pytest.approx((6, 6 * 6 / 18))


def test_another_network_counts_by_its_size() -> None:
    with Passes(small(), torch.rand(1, 4)) as passes, torch.no_grad():
        nn.Linear(90, 2)(torch.rand(3, 90))
    assert counted(passes) == (30, 0)


def test_a_stack_of_networks_counts_once_for_each() -> None:
    net, inputs = small(), torch.rand(5, 4)
    parameters, _ = stack_module_state([small() for _ in range(7)])

    def logits(own: dict[str, Tensor]) -> Tensor:
        result: Tensor = functional_call(net, own, (inputs,))
        return result

    with Passes(net, inputs[:1]) as passes:
        with torch.no_grad():
            vmap(logits)(parameters)
        assert counted(passes) == (35, 0)
        vmap(logits)(parameters).sum().backward()
    assert counted(passes) == (70, 35)


def test_gradients_of_each_input_count_as_passes_both_ways() -> None:
    net, inputs = small(), torch.rand(5, 4)
    own = {name: parameter.detach() for name, parameter in net.named_parameters()}
    with Passes(net, inputs[:1]) as passes, torch.no_grad():
        vmap(grad(lambda given, item: functional_call(net, given, (item,)).sum()), (None, 0))(own, inputs)
    assert counted(passes) == (5, 5)


class Attending(nn.Module):
    """Multi-head attention of the tokens [B, L, 8] among each other."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        attended: Tensor = self.attention(tokens, tokens, tokens)[0]
        return attended


LAYERS: dict[str, tuple[nn.Module, tuple[int, ...], int]] = {
    "linear": (nn.Linear(6, 5), (6,), 0),
    "linear for each token": (nn.Linear(6, 5), (4, 6), 0),
    "convolution": (nn.Conv2d(4, 6, 3, stride=2, padding=1), (4, 9, 9), 0),
    "grouped convolution": (nn.Conv2d(4, 6, (3, 1), groups=2), (4, 9, 9), 0),
    "convolution in one dimension": (nn.Conv1d(3, 4, 5, dilation=2), (3, 20), 0),
    "transposed convolution": (nn.ConvTranspose2d(4, 6, 3, stride=2), (4, 5, 5), 0),
    "attention": (Attending(), (7, 8), 2 * 7 * 7 * 8),  # beside its layers the products of the tokens
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_weighed_as_torch_weighs_them(name: str) -> None:
    layer, shape, beside = LAYERS[name]
    inputs = torch.rand(3, *shape)
    # One pass over an input of a layer of one multiply-add is what its own multiply-adds are counted in.
    with FlopCounterMode(display=False) as torchs:
        layer(inputs)
    with Passes(nn.Linear(1, 1), torch.rand(1, 1)) as passes:
        layer(inputs)
    expected = torchs.get_total_flops() / 2 - len(inputs) * beside
    assert counted(passes) == (expected, expected) and expected > 0


def test_a_network_without_layers_has_no_unit() -> None:
    with Passes(nn.Flatten(), torch.rand(1, 4)) as passes:
        small()(torch.rand(2, 4))
    assert passes.costs() == {}
