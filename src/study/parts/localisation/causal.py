"""Causal effect of neurons on a network's predictions, by interventions.

After CARE (Sun, Sun, Pham, Shi, "Causality-Based Neural Network Repair", ICSE 2022) and its authors' code: a neuron's
output is forced to a few levels of the range in which it was observed, do(neuron = level), and its effect is how much
that moves the mean probability of a class. A neuron is one coordinate of the vector that enters a Linear layer, so that
an intervention is a rank-one change of that layer's output, and only what follows the layer runs again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from study.parts.network.linear_cuts import LinearCut
from study.parts.network.tail import largest_output
from study.runtime.memory import block_size


def causal_effects(cut: LinearCut, features: Tensor, watched: Tensor, steps: int) -> Tensor:
    """Largest minus least interventional expectation of each neuron, [N] float64; 0 for one that is constant.

    features: [K, N], what enters the layer for the inputs that give the range of each neuron; watched: [K] bool, those
    of them over which the expectation is taken, at least one; the class of each is the one that the network gives it;
    steps: levels of a range, at equal distances, both ends included.
    """
    low, high = features.amin(0), features.amax(0)
    share = torch.linspace(0, 1, steps, device=low.device, dtype=low.dtype)
    levels = torch.lerp(low[:, None], high[:, None], share)
    classes = cut.logits(features[watched]).argmax(1)
    expectations = interventional_expectations(cut, features[watched], classes, levels)
    return (expectations.amax(1) - expectations.amin(1)).masked_fill(low == high, 0)


def interventional_expectations(cut: LinearCut, features: Tensor, classes: Tensor, levels: Tensor) -> Tensor:
    """Mean over the inputs of the probability of their class, when neuron n is forced to levels[n, s]: [N, S] float64.

    features: [B, N], what enters the layer; classes: [B] int64; levels: [N, S]. Inputs and neurons
    are taken in blocks.
    """
    with torch.no_grad():
        output = cut.layer(features)  # [B, M]
        elements = max(output.shape[1], largest_output(cut.suffix, output[:1])) * levels.shape[1]
        budget = block_size(features.device) // elements
        rows = max(1, min(budget, len(features)))
        total = torch.zeros(levels.shape, dtype=torch.float64, device=levels.device)
        for batch in zip(features.split(rows), output.split(rows), classes.split(rows), strict=True):
            blocks = torch.arange(len(levels), device=levels.device).split(max(1, budget // rows))
            total += torch.cat([_probabilities(cut, *batch, levels, neurons).double().sum(2) for neurons in blocks])
    return total / len(features)


def _probabilities(
    cut: LinearCut, features: Tensor, output: Tensor, classes: Tensor, levels: Tensor, neurons: Tensor
) -> Tensor:
    """Probability of each input's class under each intervention on `neurons` [n], [n, S, B]."""
    steps = levels[neurons, :, None] - features[:, neurons].T[:, None]  # [n, S, B]
    forced = output + steps[..., None] * cut.layer.weight.T[neurons, None, None]  # [n, S, B, M]
    probabilities: Tensor = cut.suffix(forced.flatten(0, 2)).softmax(1)
    targets = classes.expand(steps.shape).reshape(-1, 1)
    return probabilities.gather(1, targets).view(steps.shape)
