import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from scipy.sparse import csr_array
from torch import Tensor, nn

from study.models.piecewise_linear import PiecewiseLinear
from study.parts.network.linear_regions import Region, largest_excess
from study.parts.solvers.linear_program import LinearProgram, NoOptimum
from tests.models.heads import DIMENSIONS, LOWER, UPPER, network, points


def regions(count: int) -> tuple[PiecewiseLinear, list[Region], Tensor]:
    """A head, the regions of so many random points, and the class that the head gives to each point."""
    head = PiecewiseLinear(list(network(nn.ReLU()))).double()
    units, logits = head.run(points(count))
    return head, [Region.of(head, pattern, LOWER, UPPER) for pattern in units >= 0], logits.argmax(1)


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


def test_maxima_over_a_region_are_those_of_another_solver() -> None:
    for region in regions(20)[1]:
        program = LinearProgram(region.lower, region.upper)
        program.add(csr_array(region.rows), -region.offsets)
        for row in np.random.default_rng(0).normal(size=(3, DIMENSIONS)):
            bounds = list(zip(region.lower, region.upper, strict=True))
            expected = linprog(-row, A_ub=-region.rows, b_ub=region.offsets, bounds=bounds)
            assert expected.fun is not None
            maximum = -program.minimum(-row).cost
            assert maximum == pytest.approx(-expected.fun, abs=1e-7)
            assert maximum <= region.box_bound(row) + 1e-7


def test_no_logit_exceeds_another_in_a_region_by_more_than_its_largest_excess_and_one_reaches_it() -> None:
    head, found, answers = regions(6)
    inputs = points(200_000)
    units, logits = head.run(inputs)
    for region, own, answer in zip(found, head.run(points(6))[0] >= 0, answers.tolist(), strict=True):
        label = (answer + 1) % 4
        excess, solved = largest_excess(region, label, eps=0.25)
        inside = logits[((units >= 0) == own).all(dim=1)]
        assert len(inside) > 20
        observed = (inside - inside[:, label : label + 1]).amax(0) + 0.25
        observed[label] = 0
        half = excess.max() / 2
        assert excess[label] == 0
        assert 1 <= solved <= 3
        assert bool((observed.where(excess > 0, observed - half) <= excess + 1e-9).all())
        assert observed.max() > 0.8 * excess.max()


def test_without_an_optimum_the_bound_over_the_box_stands_for_the_excess(monkeypatch: pytest.MonkeyPatch) -> None:
    (region,), (answer,) = regions(1)[1], regions(1)[2].tolist()
    label = (answer + 1) % 4

    def no_optimum(*_: object) -> None:
        raise NoOptimum("numerical trouble")

    monkeypatch.setattr(LinearProgram, "minimum", no_optimum)
    excess, _ = largest_excess(region, label, eps=0.25)
    bounds = torch.zeros(4, dtype=torch.float64)
    for k in {0, 1, 2, 3} - {label}:
        row, offset = region.margin(k, label)
        bounds[k] = max(region.box_bound(row) + offset + 0.25, 0)
    assert torch.equal(excess, bounds.where(bounds > bounds.max() / 2, 0))
