"""The search of gates, all inputs at once, against a plain loop over single inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.parts.localisation import routing as module
from study.parts.localisation.routing import Routing, random_mask, voted

ROUTING = Routing(iterations=40, lr=0.009, l1=0.005)
NETWORKS = {
    "dense": (nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)), (6,)),
    "convolution": (
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 4)),
        (2, 4, 4),
    ),
}


@pytest.fixture(params=NETWORKS)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    network, shape = NETWORKS[request.param]
    generator = torch.Generator().manual_seed(1)
    network = network.double().eval()
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return network, torch.randn(3, *shape, generator=generator, dtype=torch.float64)


def looped_gates(network: nn.Module, inputs: Tensor, routing: Routing) -> Tensor:
    """As the authors' code has it: one input after the other, the gated weight written into the network."""
    weight = network.get_parameter("0.weight")
    original, result = weight.detach().clone(), []
    for item in inputs.split(1):
        gate = torch.ones_like(original)
        answer = network(item).argmax(1)
        for _ in range(routing.iterations):
            weight.data = gate * original
            (slope,) = torch.autograd.grad(functional.cross_entropy(network(item), answer), weight)
            gate = (gate - routing.lr * slope - routing.l1 * gate.sign()).clamp(0, 1)
        weight.data = original
        result.append(gate)
    return torch.stack(result)


def test_all_at_once_is_a_loop_over_single_inputs(
    case: tuple[nn.Module, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, inputs = case
    expected = looped_gates(network, inputs, ROUTING)
    gates = ROUTING.gates(network, "0.weight", inputs)
    torch.testing.assert_close(gates, expected, rtol=0, atol=1e-12)
    assert gates.min() >= 0 and gates.max() <= 1 and gates.std() > 1e-3
    means = expected.flatten(1).mean(1)
    votes = sum((gate > mean + 1e-6).long() for gate, mean in zip(expected, means, strict=True))
    assert torch.equal(ROUTING.votes(network, "0.weight", inputs), votes)
    monkeypatch.setattr(module, "CHUNK", 1)  # one input after the other
    assert torch.equal(ROUTING.votes(network, "0.weight", inputs), votes)


def test_gates_keep_the_weights_that_the_answer_needs(case: tuple[nn.Module, Tensor]) -> None:
    """The first step goes against the gradient at the weight, without the weight as a factor."""
    network, inputs = case
    steep = Routing(iterations=1, lr=1e-3, l1=0.2)
    gates = steep.gates(network, "0.weight", inputs[:1])
    loss = functional.cross_entropy(network(inputs[:1]), network(inputs[:1]).argmax(1))
    (slope,) = torch.autograd.grad(loss, network.get_parameter("0.weight"))
    torch.testing.assert_close(gates[0], 0.8 - 1e-3 * slope)


def test_without_a_rate_all_gates_are_equal_and_nothing_gets_a_vote(case: tuple[nn.Module, Tensor]) -> None:
    network, inputs = case
    network, inputs = network.float(), inputs.float()
    still = Routing(iterations=40, lr=0.0, l1=0.005)
    gates = still.gates(network, "0.weight", inputs)
    torch.testing.assert_close(gates, torch.full_like(gates, 0.8))
    assert not still.votes(network, "0.weight", inputs).any()


def test_masks() -> None:
    votes = torch.tensor([[3, 0, 1], [2, 3, 0]])
    assert voted(votes, None).tolist() == [[True, False, True], [True, True, False]]
    assert voted(votes, 0.2).tolist() == [[True, False, False], [False, False, False]]  # of equals the first
    assert voted(votes, 0.5).tolist() == [[True, False, False], [True, True, False]]
    assert voted(votes, 1.0).tolist() == voted(votes, None).tolist()  # never one without a vote
    assert not voted(torch.zeros(2, 2, dtype=torch.int64), 0.5).any()
    mask = torch.arange(100).view(10, 10) < 30
    drawn = random_mask(mask, torch.Generator().manual_seed(0))
    assert drawn.sum() == 30 and drawn.shape == mask.shape and not torch.equal(drawn, mask)
