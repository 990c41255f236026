import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from study.errors import NotApplicable
from study.models.classifier import Classifier
from study.models.decoupled import DecoupledNetwork
from study.models.mlp import MLP
from study.runtime.randomness import forked
from study.storage.models import load_model, save_model
from tests.problems import build, digits_splits
from tests.subjects import SUBJECTS, subject

LAYERS = [
    ("lenet5", "net.conv2"),
    ("lenet5", "net.fc2"),
    ("mlp", "net.layers.1"),
    ("vgg16_bn", "net.features.34"),
    ("vgg16_bn", "net.classifier.3"),
    ("resnet18", "net.layer3.0.conv1"),
    ("resnet18", "net.fc"),
    ("densenet121", "net.features.denseblock2.denselayer1.conv1"),
    ("densenet121", "net.classifier"),
]
over_layers = pytest.mark.parametrize(("name", "layer"), LAYERS)


def decoupled(name: str, layer: str) -> tuple[DecoupledNetwork, Tensor]:
    """A subject in two channels that are equal, and some inputs."""
    problem = subject(name)
    return DecoupledNetwork(problem.copy(), layer).eval(), problem.repair_set.tensors().inputs[:20]


def moved(network: DecoupledNetwork, share: float = 1.0) -> DecoupledNetwork:
    """The network with a change of its layer of values, the same for every call but for its size."""
    twin, generator = copy.deepcopy(network), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in twin.values.parameters():
            change = torch.randn(parameter.shape, generator=generator).to(parameter)
            parameter.add_(share * change * parameter.std())
    return twin


@over_layers
def test_with_equal_channels_it_is_the_network_bit_for_bit(name: str, layer: str) -> None:
    network, inputs = decoupled(name, layer)
    with torch.no_grad():
        assert torch.equal(network(inputs), subject(name).faulty(inputs))


@over_layers
def test_the_logits_are_affine_in_the_layer_of_values(name: str, layer: str) -> None:
    network, inputs = decoupled(name, layer)
    network, inputs = network.double(), inputs.double()
    with torch.no_grad():
        before, half, whole = network(inputs), moved(network, 0.5)(inputs), moved(network)(inputs)
        torch.testing.assert_close(half, (before + whole) / 2, rtol=1e-6, atol=1e-6)
        single = copy.deepcopy(network.model)
        single.get_submodule(layer).load_state_dict(moved(network).values.state_dict())
        if network.run.after:
            assert not torch.allclose(single(inputs), whole)  # there units switch


def test_a_unit_at_zero_counts_as_on() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 2))
    model.get_parameter("0.weight").data.zero_()
    network = DecoupledNetwork(model, "0")
    network.values.get_parameter("weight").data.fill_(2.0)
    inputs = torch.ones(1, 1)
    assert torch.equal(network(inputs), model[2](2 * inputs))


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.2)])
def test_a_unit_that_is_off_sends_on_what_its_slope_leaves(activation: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), activation, nn.Linear(1, 2))
    model.get_parameter("0.weight").data.fill_(-1.0)
    network = DecoupledNetwork(model, "0")
    network.values.get_parameter("weight").data.fill_(3.0)
    sent = torch.full((1, 1), 3.0 * getattr(activation, "negative_slope", 0.0))
    torch.testing.assert_close(network(torch.ones(1, 1)), model[2](sent))


def test_a_stored_network_is_the_same_again_and_bears_an_attack(tmp_path: Path) -> None:
    with forked(0, "init"):  # other weights may have a kink within the step below
        network = moved(DecoupledNetwork(build(MLP, widths=[24, 16]), "net.layers.3"))
    save_model(network, tmp_path)
    inputs = digits_splits()["test"].tensors().inputs[:30].requires_grad_()
    logits = network(inputs)
    assert torch.equal(logits, load_model(tmp_path)(inputs))
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), inputs)
    step = 1e-4 * torch.randn(inputs.shape, generator=torch.Generator().manual_seed(1)).double()
    twin = copy.deepcopy(network).double()
    with torch.no_grad():
        change = twin(inputs.double() + step)[:, 0] - twin(inputs.double() - step)[:, 0]
    expected = 2 * (gradient.double() * step).flatten(1).sum(1)
    torch.testing.assert_close(change, expected, rtol=1e-3, atol=1e-7)


class Twice(nn.Module):
    """One layer that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.layer(torch.relu(self.layer(inputs)))
        return result


class Untraceable(nn.Module):
    """A network whose path depends on its input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs)
        result: Tensor = self.last(hidden.relu() if hidden.sum() > 0 else hidden)
        return result


def test_what_is_not_piecewise_linear_after_the_layer_is_named() -> None:
    smooth = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 5), nn.GELU(), nn.Linear(5, 3)).eval()
    with pytest.raises(NotApplicable, match=r"piecewise linear after the layer 0: it has GELU \(3\)"):
        DecoupledNetwork(smooth, "0")
    assert DecoupledNetwork(smooth, "4").run.after == []
    norm = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Linear(5, 3)).eval()
    with pytest.raises(NotApplicable, match="running statistics"):
        DecoupledNetwork(norm, "0")
    with pytest.raises(NotApplicable, match="runs 2 times"):
        DecoupledNetwork(Twice().eval(), "layer")


def test_of_a_network_that_cannot_be_traced_the_last_layer_can_have_two_channels() -> None:
    model, inputs = Untraceable().eval(), torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    network = DecoupledNetwork(model, "last")
    assert torch.equal(network(inputs), model(inputs))
    network.values.get_parameter("bias").data.add_(1.0)
    torch.testing.assert_close(network(inputs), model(inputs) + 1.0)


def test_every_subject_can_be_copied_and_keeps_to_its_own_weights() -> None:
    for name in SUBJECTS:
        problem = subject(name)
        layer = next(
            name for name, part in reversed(list(problem.faulty.named_modules())) if isinstance(part, nn.Linear)
        )
        network = DecoupledNetwork(problem.copy(), layer).eval()
        twin = copy.deepcopy(network)
        assert isinstance(network.model, Classifier)
        inputs = problem.repair_set.tensors().inputs[:4]
        with torch.no_grad():
            twin.model.get_parameter(f"{layer}.weight").zero_()
            twin.values.get_parameter("weight").zero_()
            assert torch.equal(network(inputs), problem.faulty(inputs))
            assert not torch.equal(twin(inputs), network(inputs))
