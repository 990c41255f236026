"""Networks cut in two, their layers in order, and their heads."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from study.errors import NotApplicable
from study.models.classifier import Classifier
from study.models.lenet5 import LeNet5
from study.models.mlp import MLP
from study.parts.network.layers import last_linear
from study.parts.network.structure import Structure
from study.problem.prediction import predict
from study.runtime.randomness import forked
from tests.networks import Plain
from tests.problems import digits_problem, digits_splits


class Residual(nn.Module):
    """A convolution, a block with a skip around it, and a head; the shape is taken from the input."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.hidden = nn.Linear(16, 12)
        self.out = nn.Linear(12, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        features = functional.relu(self.norm(self.stem(inputs)))
        features = features + torch.relu(self.inner(features))
        pooled = self.pool(features)
        hidden = self.hidden(pooled.view(pooled.size(0), -1)).relu()
        logits: Tensor = self.out(hidden)
        return logits


class Functional(nn.Module):
    """Everything that has no weights is functional, and a bare parameter takes part."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 20)
        self.second = nn.Linear(20, 20)
        self.third = nn.Linear(20, 10)
        self.scale = nn.Parameter(torch.full((20,), 2.0))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = functional.relu(self.first(torch.flatten(inputs, 1)))
        hidden = self.second(hidden * self.scale).relu()
        logits: Tensor = self.third(hidden.flatten(1))
        return logits


class Shared(nn.Module):
    """One layer runs twice, and the last Linear is not the last that is defined."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(16, 10)
        self.first = nn.Linear(64, 16)
        self.twice = nn.Linear(16, 16)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs.flatten(1)).relu()
        logits: Tensor = self.out(self.twice(self.twice(hidden).relu()).relu())
        return logits


def made(net: type[nn.Module], **arguments: object) -> Classifier:
    """An untrained subject in eval mode with BatchNorm statistics of its own."""
    with forked(0, "init"):
        subject = Classifier(net(**arguments), [0.3], [0.4])
        for module in subject.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                nn.init.uniform_(module.running_mean, -1, 1)  # type: ignore[arg-type]
    return subject.eval()


def digits() -> Classifier:
    return made(MLP, input_shape=(1, 8, 8), num_classes=10, batch_norm=True)


def lenet() -> Classifier:
    return made(LeNet5, input_shape=(1, 16, 16), num_classes=10)


def inputs_of(model: Classifier) -> Tensor:
    inputs = digits_splits()["test"].tensors().inputs[:50]
    return functional.interpolate(inputs, scale_factor=2) if isinstance(model.net, LeNet5) else inputs


def names(structure: Structure) -> list[str]:
    return [layer.name for layer in structure.layers]


NETWORKS = {
    "lenet5": lenet,
    "mlp": digits,
    "residual": lambda: made(Residual),
    "functional": lambda: made(Functional),
    "shared": lambda: made(Shared),
}
LAYERS = {
    "lenet5": ["net.conv1", "net.conv2", "net.fc1", "net.fc2", "net.fc3"],
    "mlp": ["net.layers.1", "net.layers.4", "net.layers.7"],
    "residual": ["net.stem", "net.inner", "net.hidden", "net.out"],
    "functional": ["net.first", "net.second", "net.third"],
    "shared": ["net.first", "net.out"],
}
ACTIVATED = {
    "lenet5": [True, True, True, True, False],
    "mlp": [False, False, False],
    "residual": [False, True, True, False],
    "functional": [True, True, False],
    "shared": [True, False],
}
HEADS = {
    "lenet5": ("net.fc1", "Linear ReLU Linear ReLU Linear"),
    "mlp": ("net.layers.1", "Linear BatchNorm1d ReLU Linear BatchNorm1d ReLU Linear"),
    "residual": ("net.hidden", "Linear ReLU Linear"),
    "functional": ("net.second", "Linear ReLU Flatten Linear"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_stand_in_the_order_they_run(name: str) -> None:
    model = NETWORKS[name]()
    structure = Structure(model)
    assert names(structure) == LAYERS[name]
    assert [layer.activated for layer in structure.layers] == ACTIVATED[name]
    assert all(model.get_submodule(layer.name) is layer.module for layer in structure.layers)
    assert structure.layer(LAYERS[name][1]) is structure.layers[1]
    with pytest.raises((KeyError, StopIteration)):
        structure.layer("net.nothing")


@pytest.mark.parametrize("name", NETWORKS)
def test_prefix_then_suffix_is_the_model_bit_for_bit(name: str) -> None:
    model = NETWORKS[name]()
    structure, inputs = Structure(model), inputs_of(model)
    with torch.no_grad():
        expected = model(inputs)
        for layer in structure.layers:
            entering: list[Tensor] = []
            hook = layer.module.register_forward_pre_hook(lambda _, arguments, seen=entering: seen.append(arguments[0]))
            model(inputs)
            hook.remove()
            features = structure.prefix(layer.node)(inputs)
            assert torch.equal(features, entering[0])
            assert torch.equal(structure.suffix(layer.node)(features), expected)


@pytest.mark.parametrize("name", HEADS)
def test_the_head_is_the_chain_at_the_end(name: str) -> None:
    model = NETWORKS[name]()
    structure, inputs = Structure(model), inputs_of(model)
    first, kinds = HEADS[name]
    assert structure.head.node.target == first
    assert " ".join(type(module).__name__ for module in structure.head.modules) == kinds
    with torch.no_grad():
        values = structure.prefix(structure.head.node)(inputs)
        for module in structure.head.modules:
            values = module(values)
        assert torch.equal(values, model(inputs))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_parts_share_their_parameters_with_the_model(name: str) -> None:
    model = NETWORKS[name]()
    structure, inputs = Structure(model), inputs_of(model)
    layer = structure.layers[-1]
    suffix, prefix = structure.suffix(layer.node), structure.prefix(layer.node)
    own = {id(parameter) for parameter in model.parameters()}
    assert {id(parameter) for parameter in [*suffix.parameters(), *prefix.parameters()]} <= own
    with torch.no_grad():
        before = model(inputs)
        layer.module.bias.add_(1)  # type: ignore[operator]
        assert torch.equal(suffix(prefix(inputs)), model(inputs))
        assert torch.allclose(model(inputs), before + 1, atol=1e-5)


def test_structure_leaves_the_model_as_it_is() -> None:
    model = digits()
    state = copy.deepcopy(model.state_dict())
    structure = Structure(model)
    predict(structure.prefix(structure.layers[1].node), digits_splits()["test"])
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


class Passing(Residual):
    """The skip starts before the layer that the tensor enters."""

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.stem(inputs)
        features = features + self.inner(self.norm(features).relu())
        logits: Tensor = self.out(self.hidden(self.pool(features).flatten(1)).relu())
        return logits


def test_a_network_cannot_be_cut_where_a_connection_passes_by() -> None:
    structure = Structure(made(Passing))
    with pytest.raises(NotApplicable, match=r"cut in two at net.inner: a connection passes it by"):
        structure.suffix(structure.layer("net.inner").node)
    assert structure.head.node.target == "net.hidden"
    structure.suffix(structure.layer("net.hidden").node)


class Branching(nn.Module):
    """The head's input goes another way too."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 10)
        self.second = nn.Linear(10, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        values = self.first(inputs.flatten(1))
        logits: Tensor = values + self.second(values)
        return logits


class Probabilities(Branching):
    """Ends in a softmax."""

    def forward(self, inputs: Tensor) -> Tensor:
        probabilities: Tensor = self.second(self.first(inputs.flatten(1))).softmax(1)
        return probabilities


@pytest.mark.parametrize("net", [Branching, Probabilities])
def test_a_network_that_does_not_end_in_a_chain_has_no_head(net: type[nn.Module]) -> None:
    structure = Structure(made(net))
    assert len(structure.layers) == 2
    with pytest.raises(NotApplicable, match="does not end in a chain"):
        _ = structure.head


def test_control_flow_that_depends_on_data_is_unadaptable_but_the_last_linear_is_found() -> None:
    model = made(Plain)
    with pytest.raises(NotApplicable, match=r"Classifier cannot be traced by torch.fx"):
        Structure(model)
    name, module = last_linear(model, inputs_of(model))
    assert name == "net.out" and module is model.net.out


RESNET = ["relu", "maxpool2d", *["relu"] * 8, "adaptiveavgpool2d"]
DENSENET = ["relu", "maxpool2d", *["cat", "relu", "avgpool2d"] * 3, "cat", "relu", "adaptiveavgpool2d"]
STAGES = {
    "lenet5": (lenet, ["relu", "maxpool2d", "relu", "maxpool2d"]),
    "mlp": (digits, []),
    "residual": (lambda: made(Residual), ["relu", "add", "adaptiveavgpool2d"]),
    "passing": (lambda: made(Passing), ["add", "adaptiveavgpool2d"]),
    "functional": (lambda: made(Functional), ["relu"]),
    "resnet18": (lambda: models.resnet18(num_classes=5).eval(), RESNET),
    "densenet121": (lambda: models.densenet121(num_classes=5).eval(), DENSENET),
}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_ends_where_everything_passes_an_activation_a_pooling_a_sum_or_a_concatenation(name: str) -> None:
    build, expected = STAGES[name]
    structure = Structure(build())
    ends = structure.stage_ends(structure.head.node)
    assert [structure.operation(end) for end in ends] == expected


def test_a_size_read_early_does_not_pass_the_stages_by() -> None:
    class Reshaping(Residual):
        def forward(self, inputs: Tensor) -> Tensor:
            count, _ = inputs.shape[0], inputs.dim()
            features = self.pool(functional.relu(self.stem(inputs)))
            logits: Tensor = self.out(self.hidden(features.view(count, -1)).relu())
            return logits

    structure = Structure(made(Reshaping))
    ends = structure.stage_ends(structure.head.node)
    assert [structure.operation(end) for end in ends] == ["relu", "adaptiveavgpool2d"]


def test_a_trace_gives_what_the_nodes_produce_and_what_enters_the_last() -> None:
    model = lenet()
    structure, inputs = Structure(model), inputs_of(model)
    head = structure.head.node
    relu1, pool1, relu2, pool2 = structure.stage_ends(head)
    with torch.no_grad():
        pooled, rectified, features = structure.trace(head, [pool1, relu2])(inputs)
        net = model.net
        expected = net.pool1(net.relu1(net.conv1(model.normalise(inputs))))
        assert torch.equal(pooled, expected)
        assert torch.equal(rectified, net.relu2(net.conv2(expected)))
        assert torch.equal(features, net.flatten(net.pool2(rectified)))
    assert (str(relu1.target), str(pool2.target)) == ("net.relu1", "net.pool2")


def test_after_a_node_or_before_the_next_is_the_same_cut() -> None:
    """Cut behind an activation, and before the layer that takes it."""
    problem = digits_problem()
    structure = Structure(problem.faulty)
    inputs = problem.repair_set.inputs[:5]
    hidden, last = structure.layers[1:]
    prefix, suffix = structure.cut_after(last.node.args[0])  # type: ignore[arg-type]
    with torch.no_grad():
        features = prefix(inputs)
        assert torch.equal(features, structure.prefix(last.node)(inputs))
        assert torch.equal(suffix(features), problem.faulty(inputs))
        prefix, suffix = structure.cut_after(hidden.node)  # the layer's own output, before its activation
        assert bool((prefix(inputs) < 0).any()) and torch.equal(suffix(prefix(inputs)), problem.faulty(inputs))


def test_nor_after_a_node_that_a_connection_passes_by() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            features = self.first(inputs)
            return features + self.second(features)  # type: ignore[no-any-return]

    structure = Structure(Skip().eval())
    first, second = structure.layers
    structure.cut_after(first.node)
    with pytest.raises(NotApplicable, match="connection passes it by"):
        structure.cut_after(second.node)


@pytest.mark.parametrize(("network", "expected"), [("shared", "net.out"), ("lenet5", "net.fc3")])
def test_the_last_linear_is_the_one_that_runs_last(network: str, expected: str) -> None:
    model = NETWORKS[network]()
    assert last_linear(model, inputs_of(model))[0] == expected
    assert not any(module._forward_hooks for module in model.modules())
