"""The closed forms against CROWN written out unit by unit, and against the margins themselves."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from study.parts.localisation.margin_bounds import _by_lines, _moved, interval_edges, margin_bounds
from study.parts.network.folding import FoldedLinear, folded_layers
from study.runtime.randomness import forked

INPUTS, NEURONS, CLASSES, INTERVALS = 4, 5, 3, 6


def chain(widths: list[int], seed: int = 0) -> nn.Sequential:
    """Linear layers with ReLU between them, in float64."""
    sizes = [NEURONS, *widths, CLASSES]
    with forked(seed, "init"):
        layers = [part for i, o in pairwise(sizes) for part in (nn.Linear(i, o), nn.ReLU())]
    return nn.Sequential(*layers[:-1]).double().requires_grad_(False)


def case(widths: list[int], times: float = 3.0) -> tuple[list[FoldedLinear], Tensor, Tensor, Tensor]:
    """Arguments of `margin_bounds`."""
    generator = torch.Generator().manual_seed(7)
    values = torch.randn(INPUTS, NEURONS, generator=generator, dtype=torch.float64).relu() * 2
    classes = torch.rand(INPUTS, CLASSES, generator=generator).argsort(1)[:, :2]
    rows = torch.zeros(INPUTS, CLASSES).scatter(1, classes, torch.tensor([[1.0, -1.0]] * INPUTS)).double()
    return folded_layers(list(chain(widths))), values, rows, interval_edges(values, times, INTERVALS)


def margin(suffix: list[FoldedLinear], values: Tensor, row: Tensor) -> Tensor:
    for layer in suffix:
        values = layer(values)
    return values @ row


def literal(suffix: list[FoldedLinear], values: Tensor, row: Tensor, neuron: int, low: float, high: float) -> Tensor:
    """The bound at both ends of one interval, of one input [N]: a lower and an upper line slope * v + offset per unit.

    The margin's weights are multiplied into the last layer, as CROWN does with a specification.
    """
    *hidden, last = suffix
    weight, bias = row @ last.weight, row @ last.bias
    lines = []
    for unit in range(len(suffix[0].weight) if hidden else 0):
        slope = suffix[0].weight[unit, neuron]
        offset = suffix[0].weight[unit] @ values + suffix[0].bias[unit] - slope * values[neuron]
        lines.append(((slope, offset), (slope, offset)))
    for number in range(len(hidden)):
        relaxed = []
        for (a, b), (c, d) in lines:
            least, most = min(a * low + b, a * high + b), max(c * low + d, c * high + d)
            if least >= 0:
                relaxed.append(((a, b), (c, d)))
            elif most <= 0:
                relaxed.append(((0.0, 0.0), (0.0, 0.0)))
            else:
                keep = 1.0 if most > -least else 0.0
                chord = most / (most - least)
                relaxed.append(((keep * a, keep * b), (chord * c, chord * (d - least))))
        if number < len(hidden) - 1:
            following = hidden[number + 1]
            lines = [combined(w, b, relaxed) for w, b in zip(following.weight, following.bias, strict=True)]
    if not hidden:
        slope = weight[neuron]
        offset = weight @ values + bias - slope * values[neuron]
    else:
        (slope, offset), _ = combined(weight, bias, relaxed)
    return torch.stack([slope * low + offset, slope * high + offset])


def combined(weights: Tensor, bias: Tensor, lines: list) -> tuple:  # type: ignore[type-arg]
    """Lower and upper line of a weighted sum of units between lines."""
    pairs = list(zip(weights, lines, strict=True))
    lower = [sum(w * (low if w >= 0 else up)[part] for w, (low, up) in pairs) for part in (0, 1)]
    upper = [sum(w * (up if w >= 0 else low)[part] for w, (low, up) in pairs) for part in (0, 1)]
    return (lower[0], lower[1] + bias), (upper[0], upper[1] + bias)


DEPTHS = pytest.mark.parametrize("widths", [[], [7], [7, 6], [6, 5, 4]], ids=["linear", "one", "two", "three"])


@DEPTHS
def test_the_bounds_are_those_of_crown_written_out(widths: list[int]) -> None:
    suffix, values, rows, edges = case(widths)
    bounds = margin_bounds(suffix, values, rows, edges)
    assert bounds.shape == (NEURONS, INPUTS, INTERVALS, 2)
    for neuron in range(NEURONS):
        for item in range(INPUTS):
            for number in range(INTERVALS):
                ends = edges[neuron, number : number + 2].tolist()
                expected = literal(suffix, values[item], rows[item], neuron, *ends)
                torch.testing.assert_close(bounds[neuron, item, number], expected, rtol=0, atol=1e-12)


@DEPTHS
def test_no_value_in_an_interval_has_a_margin_below_the_line(widths: list[int]) -> None:
    suffix, values, rows, edges = case(widths)
    bounds, generator, gaps = margin_bounds(suffix, values, rows, edges), torch.Generator().manual_seed(1), []
    for _ in range(1000):
        neuron, item, number = (int(torch.randint(n, (), generator=generator)) for n in bounds.shape[:3])
        share = torch.rand((), generator=generator, dtype=torch.float64)
        moved = values[item].clone()
        moved[neuron] = torch.lerp(edges[neuron, number], edges[neuron, number + 1], share)
        line = torch.lerp(*bounds[neuron, item, number], share)
        gaps.append(margin(suffix, moved, rows[item]) - line)
    assert min(gaps) > -1e-12
    if widths:
        assert max(gaps) > 1e-3  # it is a relaxation
    else:
        assert max(gaps) < 1e-12


def test_behind_one_layer_buckets_are_lines_also_in_float32_and_with_units_that_do_not_move() -> None:
    suffix, values, rows, edges = case([40], times=2.0)
    suffix[0].weight[3, 2] = 0.0
    suffix[0].weight[:, 4] = 0.0
    first, weight, bias = suffix[0], rows @ suffix[1].weight, rows @ suffix[1].bias
    units = values @ first.weight.T + first.bias
    lines = _by_lines([first], units, first.weight.T, _moved(values.T, edges), weight, bias)
    torch.testing.assert_close(margin_bounds(suffix, values, rows, edges), lines, rtol=0, atol=1e-12)
    single = [FoldedLinear(part.weight.float(), part.bias.float(), part.activation) for part in suffix]
    torch.testing.assert_close(
        margin_bounds(single, values.float(), rows.float(), edges.float()), lines.float(), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["rising", "falling"])
def test_where_both_ends_are_equally_far_the_lower_line_misses_the_upper_end(sign: float) -> None:
    """One unit z = sign * v over v in [-1, 1], the margin is relu(z): the lower line is 0 unless u > -l."""
    one = torch.ones(1, 1, dtype=torch.float64)
    nothing = torch.zeros(1, dtype=torch.float64)
    suffix = [FoldedLinear(sign * one, nothing, nn.Sequential(nn.ReLU())), FoldedLinear(one, nothing, nn.Sequential())]
    edges = torch.tensor([[-1.0, 1.0]], dtype=torch.float64)
    assert margin_bounds(suffix, 0 * one, one, edges).flatten().tolist() == [0.0, 0.0]


@DEPTHS
def test_a_neuron_that_never_varies_keeps_its_margin(widths: list[int]) -> None:
    suffix, values, rows, _ = case(widths)
    values[:, 1] = 0.7
    edges = interval_edges(values, 1.0, INTERVALS)
    expected = torch.stack([margin(suffix, value, row) for value, row in zip(values, rows, strict=True)])
    bounds = margin_bounds(suffix, values, rows, edges)[1]
    torch.testing.assert_close(bounds, expected[:, None, None].expand_as(bounds), rtol=0, atol=1e-12)


def test_linear_layers_in_a_row_are_one() -> None:
    suffix, values, rows, edges = case([7])
    doubled = [suffix[0], FoldedLinear(torch.eye(7).double() * 2, torch.ones(7).double(), nn.Sequential()), suffix[1]]
    last = FoldedLinear(2 * suffix[1].weight, suffix[1].bias + suffix[1].weight.sum(1), nn.Sequential())
    once = margin_bounds([suffix[0], last], values, rows, edges)
    torch.testing.assert_close(margin_bounds(doubled, values, rows, edges), once)


def test_the_grid_starts_one_range_below_the_smallest_value() -> None:
    values = torch.tensor([[0.0, 1.0], [2.0, 1.0], [1.0, 1.0]])
    edges = interval_edges(values, 3.0, 6)
    assert edges.tolist() == [[-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0], [1.0] * 7]
    assert interval_edges(values, 1.0, 2)[0].tolist() == [-2.0, -1.0, 0.0]
    assert math.isclose(float(interval_edges(values, 2.0, 4)[0, -1]), 2.0)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for widths in ([7], [7, 6]):
        arguments = case(widths)
        whole = margin_bounds(*arguments)
        monkeypatch.setattr("study.parts.localisation.margin_bounds.LARGEST_BLOCK", 1)
        torch.testing.assert_close(margin_bounds(*arguments), whole)
        monkeypatch.undo()
