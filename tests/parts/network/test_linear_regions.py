from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

from study.parts.network.linear_regions import Maximiser, PiecewiseLinear, Region
from tests.models.heads import DIMENSIONS, LOWER, UPPER, network, points


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


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.2)])
def test_a_region_holds_the_inputs_of_its_pattern_and_gives_their_logits(
    activation: nn.Module, batch_norm: bool
) -> None:
    head = PiecewiseLinear(list(network(activation, batch_norm))).double()
    inputs = points(4000)
    units, logits = head.run(inputs)
    pattern = units[0] >= 0
    region = Region.of(head, pattern, LOWER, UPPER)
    inside = (inputs.numpy() @ region.rows.T + region.offsets >= 0).all(axis=1)
    assert np.array_equal(inside, ((units >= 0) == pattern).all(dim=1).numpy())
    assert inside.sum() > 5
    assert not inside.all()
    frozen = inputs.numpy() @ region.logit_rows.T + region.logit_offsets
    np.testing.assert_allclose(frozen[inside], logits.numpy()[inside], atol=1e-12)


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


def test_maxima_over_a_region_are_those_of_another_solver() -> None:
    head = PiecewiseLinear(list(network(nn.ReLU()))).double()
    units, _ = head.run(points(20))
    for pattern in units >= 0:
        region = Region.of(head, pattern, LOWER, UPPER)
        maximiser = Maximiser(region)
        for row in np.random.default_rng(0).normal(size=(3, DIMENSIONS)):
            bounds = list(zip(region.lower, region.upper, strict=True))
            expected = linprog(-row, A_ub=-region.rows, b_ub=region.offsets, bounds=bounds)
            assert expected.fun is not None
            assert maximiser.maximum(row) == pytest.approx(-expected.fun, abs=1e-7)
            assert maximiser.maximum(row) <= region.box_bound(row) + 1e-7


def test_the_solver_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    head = PiecewiseLinear(list(network(nn.ReLU()))).double()
    pattern = head.run(points(1))[0][0] >= 0
    Maximiser(Region.of(head, pattern, LOWER, UPPER)).maximum(np.ones(DIMENSIONS))
    assert capfd.readouterr() == ("", "")
