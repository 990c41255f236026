from collections.abc import Sequence

import pytest
import torch
from torch import nn

from study.models.piecewise_linear import PiecewiseLinear
from tests.models.heads import network, points


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.2)])
def test_the_head_runs_as_its_modules_do(activation: nn.Module, batch_norm: bool) -> None:
    layers = network(activation, batch_norm)
    head = PiecewiseLinear(list(layers))
    units, logits = head.run(points(50))
    assert head.widths == [7, 5]
    assert head.classes == 4
    torch.testing.assert_close(units[:, :7], layers[:2](points(50)))
    torch.testing.assert_close(units[:, 7:], layers[:5](points(50)))
    torch.testing.assert_close(logits, layers(points(50)))


def test_the_copy_in_float64_shares_nothing_with_the_head() -> None:
    modules: Sequence[nn.Module] = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)]
    copied = PiecewiseLinear(modules).double()
    assert modules[0].weight.dtype is torch.float32
    assert all(parameter.dtype is torch.float64 for module in copied.modules for parameter in module.parameters())


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ([nn.Linear(2, 2)], False),
        ([nn.Linear(2, 2), nn.Linear(2, 2)], False),
        ([nn.Linear(2, 2), nn.ReLU()], False),
        ([nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)], True),
        ([nn.Linear(2, 2), nn.BatchNorm1d(2), nn.LeakyReLU(), nn.Dropout(), nn.Linear(2, 2), nn.ReLU()], True),
    ],
)
def test_a_hidden_relu_lies_between_two_dense_layers(modules: list[nn.Module], expected: bool) -> None:
    assert PiecewiseLinear(modules).has_hidden_relu is expected
