"""How far a single neuron could move a margin: lower bounds over intervals of its value, by linear relaxation (CROWN).

After VeRe (Ma et al., ICSE 2024), whose authors' code runs auto_LiRPA once per neuron and interval. With one value free
each unit behind it is a function of that value alone, so that a bound is a closed form of its two ends. A ReLU that
stays on or off is itself; one that crosses zero between l < 0 < u has the upper chord, and the lower line z where
u > -l, else 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from study.parts.network.folding import FoldedLinear

LARGEST_BLOCK = 2**20
"""Elements of the largest intermediate tensor."""


def interval_edges(values: Tensor, times: float, intervals: int) -> Tensor:
    """The K + 1 edges of K = `intervals` intervals per neuron, [N, K + 1], from its `values` [B, N].

    With d the range of its values they start d below the smallest; all together they are `times` d wide.
    """
    low, high = values.amin(0), values.amax(0)
    steps = torch.arange(intervals + 1, device=values.device, dtype=values.dtype) * (times / intervals)
    return (2 * low - high)[:, None] + (high - low)[:, None] * steps


def margin_bounds(suffix: Sequence[FoldedLinear], values: Tensor, rows: Tensor, edges: Tensor) -> Tensor:
    """Lower bounds [N, B, K, 2] of B margins over K intervals of each of N neurons, all other neurons at their values.

    Each bound is a linear function of the neuron's value, given by what it is at the interval's left and right end:
    nowhere between does it exceed the margin (but for rounding). Of an interval without width both are the margin.

    Args:
        suffix: the layers behind the neurons, with ReLU or no activation, the last one without.
        values: [B, N], the neurons' values.
        rows: [B, C], the margin of each input as a linear function of its logits.
        edges: [N, K + 1], ascending; of equal width per neuron.
    """
    *hidden, last = _merged(suffix)
    weight, bias = rows @ last.weight, rows @ last.bias
    if not hidden:  # a margin linear in the value: exact
        at_edges = ((weight * values).sum(1) + bias)[:, None] + weight.T[..., None] * _moved(values.T, edges)
        return torch.stack([at_edges[..., :-1], at_edges[..., 1:]], dim=-1)
    units = functional.linear(values, hidden[0].weight, hidden[0].bias)
    largest = max(len(layer.weight) for layer in hidden) * (1 if len(hidden) == 1 else 2 * (edges.shape[1] - 1))
    bounds = []
    for block in torch.arange(len(edges), device=edges.device).split(max(1, LARGEST_BLOCK // (len(rows) * largest))):
        outgoing, moved = hidden[0].weight.T[block], _moved(values.T[block], edges[block])
        if len(hidden) == 1:
            bounds.append(_by_buckets(units, outgoing, moved, weight, bias))
        else:
            bounds.append(_by_lines(hidden, units, outgoing, moved, weight, bias))
    return torch.cat(bounds)


def _moved(values: Tensor, edges: Tensor) -> Tensor:
    """By how much each edge [n, K + 1] lies above the present values [n, B]: [n, B, K + 1]."""
    return edges[:, None] - values[..., None]


def _merged(suffix: Sequence[FoldedLinear]) -> list[FoldedLinear]:
    """The same map, each layer without an activation multiplied into the next; all but the last have a ReLU."""
    layers = [suffix[0]]
    for layer in suffix[1:]:
        if len(layers[-1].activation):
            layers.append(layer)
        else:
            before = layers.pop()
            weight, bias = layer.weight @ before.weight, layer.weight @ before.bias + layer.bias
            layers.append(FoldedLinear(weight, bias, layer.activation))
    return layers


def _by_buckets(units: Tensor, outgoing: Tensor, moved: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The bounds [n, B, K, 2] behind one hidden layer, at a cost that does not grow with the intervals.

    Along the edges a unit is on from, or up to, the one place where it crosses zero, so that the margin at all edges is
    a running sum over the units in order of that place; only the interval it crosses in is relaxed. Chords touch the
    ReLU at both ends, and a lower line misses it at one: by |z| there, at the end with the smaller one (of equals, the
    upper end of z).

    Args:
        units: [B, M], pre-activations; outgoing: [n, M], weights of each neuron into them; moved: see `_moved`.
        weight, bias: [B, M] and [B], the margin as a function of the activations.
    """
    intervals = moved.shape[2] - 1
    step = outgoing[:, None] * (moved[..., 1:2] - moved[..., :1])  # change of a unit from edge to edge
    start = units + outgoing[:, None] * moved[..., :1]
    still = step == 0
    crossing = torch.where(still, -1.0, -start / step)
    place = crossing.floor().clamp(-1, intervals).long()
    falls = step < 0
    at_start = (weight * start).masked_fill(~(falls | (still & (start > 0))), 0.0).sum(2, keepdim=True)
    slope = (weight * step).masked_fill(~falls, 0.0).sum(2, keepdim=True)
    shape, switch = (*place.shape[:2], intervals + 2), weight * step.sign()
    added = start.new_zeros(shape).scatter_add_(2, place + 1, switch * start).cumsum(2)[..., :-1]
    steeper = start.new_zeros(shape).scatter_add_(2, place + 1, switch * step).cumsum(2)[..., :-1]
    number = torch.arange(intervals + 1, device=start.device)
    at_edges = bias[:, None] + at_start + added + number * (slope + steeper)

    part = crossing - place
    left = (part < 0.5) | ((part == 0.5) & falls)
    missed = weight * step.abs() * torch.where(left, part, 1 - part)
    inside = (place >= 0) & (place < intervals) & (weight > 0)
    ends = torch.where(inside, 2 * place + (~left).long(), 0)
    penalty = start.new_zeros(*place.shape[:2], 2 * intervals).scatter_add_(2, ends, missed.where(inside, 0.0))
    return torch.stack([at_edges[..., :-1], at_edges[..., 1:]], dim=-1) - penalty.view(*place.shape[:2], intervals, 2)


def _by_lines(
    hidden: Sequence[FoldedLinear], units: Tensor, outgoing: Tensor, moved: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    """The bounds [n, B, K, 2] behind any number of hidden layers; arguments as in `_by_buckets`.

    Each unit has a lower and an upper line in the neuron's value, [n, B, K, 2, M] at the ends of the intervals.
    """
    at_edges = units[:, None] + moved[..., None] * outgoing[:, None, None]
    lower = upper = torch.stack([at_edges[:, :, :-1], at_edges[:, :, 1:]], dim=3)
    for _, layer in pairwise(hidden):
        lower, upper = _rectified(lower, upper)
        above, below = layer.weight.clamp(min=0).T, layer.weight.clamp(max=0).T
        lower, upper = lower @ above + upper @ below + layer.bias, upper @ above + lower @ below + layer.bias
    lower, upper = _rectified(lower, upper)
    each = weight[:, None, None]
    bound: Tensor = (lower * each.clamp(min=0) + upper * each.clamp(max=0)).sum(4) + bias[:, None, None]
    return bound


def _rectified(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """A lower and an upper line of the ReLU of units between two lines, all given at the ends (dimension 3)."""
    least, most = lower.amin(3, keepdim=True), upper.amax(3, keepdim=True)
    on, crossing = least >= 0, (least < 0) & (most > 0)
    chord = most / (most - least) * (upper - least)
    below = torch.where(on | (crossing & (most > -least)), lower, 0.0)
    return below, torch.where(on, upper, torch.where(crossing, chord, 0.0))
