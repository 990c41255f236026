from __future__ import annotations

import pytest
import torch
from torch import nn

from study.errors import NotApplicable
from study.models.lenet5 import LeNet5
from study.parts.network.hidden_layer import HiddenLayer, SplitAtLayer
from study.problem.prediction import predict
from tests.parts.network.test_dense_head import Twice
from tests.problems import digits_problem


def test_it_is_the_first_hidden_layer_and_runs_as_the_network_does() -> None:
    problem = digits_problem(batch_norm=True)
    layer = HiddenLayer.of(problem.faulty, problem.task.example(2))
    assert layer.names == ("net.layers.1", "net.layers.4")
    kinds = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert [type(part) for part in layer.modules] == kinds and layer.reader.in_features == 64
    chosen = problem.failing
    at_layer = SplitAtLayer(layer, problem.repair_set, chosen)
    logits = predict(problem.faulty, problem.repair_set.subset(chosen))
    assert torch.equal(at_layer.logits, logits) and at_layer.count == 0
    assert at_layer.values.shape == (len(chosen), 64) and not at_layer.right.any()
    whole = SplitAtLayer(layer, problem.repair_set)
    assert whole.count == len(problem.passing)


def test_what_it_holds_after_a_refresh_is_the_network_as_it_is_now() -> None:
    problem = digits_problem()
    model = problem.copy()
    at_layer = SplitAtLayer(HiddenLayer.of(model, problem.task.example(2)), problem.repair_set)
    with torch.no_grad():
        model.get_submodule("net.layers.1").weight[3] += 1
        model.get_submodule("net.layers.3").bias[1] -= 1
    at_layer.refresh()
    torch.testing.assert_close(at_layer.logits, predict(model, problem.repair_set))


def test_of_a_convolutional_network_the_trunk_ends_in_a_vector() -> None:
    net = LeNet5(input_shape=(1, 28, 28), num_classes=10).eval()
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    layer = HiddenLayer.of(net, images)
    assert layer.names == ("fc1", "fc2")
    torch.testing.assert_close(layer.logits(layer.values(layer.trunk(images))), net(images))


def test_a_layer_without_a_relu_belongs_to_the_trunk_and_without_any_the_features_are_neurons() -> None:
    chain = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2), nn.Linear(2, 3)).eval()
    assert HiddenLayer.of(chain, torch.zeros(1, 4)).names == ("1", "3")
    linear = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3)).eval()
    layer = HiddenLayer.of(linear, torch.zeros(1, 4), features=True)
    assert layer.names == ("0",) and layer.modules == [] and layer.linear is None
    vectors = torch.rand(2, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(layer.values(vectors), vectors)
    torch.testing.assert_close(layer.logits(vectors), linear(vectors))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3)), "a hidden Linear layer with a ReLU"),
        (nn.Sequential(nn.Linear(4, 5), nn.LeakyReLU(), nn.Linear(5, 3)), "another activation"),
        (nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4), nn.LeakyReLU(), nn.Linear(4, 3)), "another act"),
        (nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3), nn.ReLU()), "another activation"),
        (nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3), nn.Softmax(1)), "does not end in a chain"),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), *[nn.Linear(4, 4)] * 2), "runs more than once"),
        (Twice(), "runs more than once"),
    ],
)
def test_other_heads_are_unadaptable(model: nn.Module, reason: str) -> None:
    with pytest.raises(NotApplicable, match=reason):
        HiddenLayer.of(model.eval(), torch.zeros(2, 4))
