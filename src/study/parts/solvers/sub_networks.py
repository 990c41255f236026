"""A chain of dense layers cut after its ReLUs into sub-networks of one layer each, whose least changes are independent.

Once it is decided which values the inputs take behind each ReLU, every layer has a problem of its own: a hidden layer's
neurons have to give these values (neuron_values.py), the last layer has to give the labels (class_margins.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from study.parts.network.dense_chain import DenseLayer
from study.parts.solvers.class_margins import ClassMargins
from study.parts.solvers.demands import ORDER, Items, Norm, ended
from study.parts.solvers.least_change import least_change, least_size
from study.parts.solvers.linear_program import Vector
from study.parts.solvers.neuron_values import DUAL, NeuronValues, least_sizes

Moves = Sequence[Vector]
"""For each hidden layer what is added to its values behind the ReLU, [m, width] each."""


class Plan(NamedTuple):
    """A hidden layer and what it is to do: features [m, d] that enter, values `present` [m, w] that it has before its
    ReLU and `wanted` [m, w] behind it, and the neurons that have to change for it."""

    features: Vector
    present: Vector
    wanted: Vector
    moved: Items

    def demands(self, neuron: int) -> NeuronValues:
        """What is demanded of one neuron."""
        return NeuronValues(self.features, self.present[:, neuron], self.wanted[:, neuron])


class SubNetworks:
    """The least change of all layers together with which m inputs get their labels.

    programs: how many were solved.

    Args:
        layers: in order; behind all but the last comes a ReLU.
        values: [m, d] float64, what enters the first.
        labels: [m].
        eps: margin by which a label is to win.
    """

    def __init__(self, layers: Sequence[DenseLayer], values: Vector, labels: Items, norm: Norm, eps: float) -> None:
        self.layers, self.values, self.labels, self.norm, self.eps = layers, values, labels, norm, eps
        self.programs = 0
        self._sizes: dict[tuple[int, int, bytes, bytes], float] = {}

    def unmoved(self) -> list[Vector]:
        """Moves that leave all values as they are."""
        return [np.zeros((len(self.values), len(layer.weight))) for layer in self.layers[:-1]]

    def plans(self, moves: Moves) -> list[Plan]:
        """What each hidden layer has to do, the values of the layers before it moved already.

        A neuron that is not to move keeps its weights, though not its values where those before it move.
        """
        plans, values = list[Plan](), self.values
        for layer, move in zip(self.layers[:-1], moves, strict=True):
            features = layer.entering(values)
            present = features @ layer.weight.T
            kept = np.maximum(present, 0.0)
            values = np.maximum(kept + move, 0.0)
            plans.append(Plan(features, present, values, np.flatnonzero((values != kept).any(0))))
        return plans

    def margins(self, values: Vector) -> ClassMargins:
        """What is demanded of the last layer where these values [m, w] enter it."""
        last, every = self.layers[-1], np.ones(len(values), dtype=bool)
        features = last.entering(values)
        return ClassMargins.of(features, features @ last.weight.T, self.labels, every, self.eps)

    def size(self, moves: Moves, limit: float = np.inf) -> float:
        """The norm of the least change of all layers under these moves; infinite where it is not below the limit.

        Starts from lower bounds of all parts and makes one after the other exact, the cheap programs first, until the
        whole cannot be below the limit any more.
        """
        plans = self.plans(moves)
        margins = self.margins(plans[-1].wanted if plans else self.values)
        parts = [(depth, neuron) for depth, plan in enumerate(plans) for neuron in plan.moved.tolist()]
        bounds = [least_sizes(*plan[:3], self.norm)[plan.moved] for plan in plans]
        sizes = np.concatenate([*bounds, [self._least_margin_size(margins)]])
        for place in np.argsort(-sizes[:-1], kind="stable"):
            if not total(sizes, self.norm) < limit:
                return np.inf
            sizes[place] = self._neuron_size(plans, *parts[place])
        if not total(sizes, self.norm) < limit:
            return np.inf
        self.programs += 1
        box = {"limit": limit} if self.norm == "linf" and np.isfinite(limit) else {}
        sizes[-1] = least_size(margins, self.norm, **box)
        whole = total(sizes, self.norm)
        return whole if whole < limit else np.inf

    def reaching(self, moves: Moves, depth: int, values: Vector) -> Vector:
        """The change of hidden layer `depth`'s weight under these moves, where `values` [m, d] enter it.

        They are those of the plan up to rounding: what a network in lower precision really gives.
        """
        layer, plan = self.layers[depth], self.plans(moves)[depth]
        features = layer.entering(values)
        plan = plan._replace(features=features, present=features @ layer.weight.T)
        change = np.zeros_like(layer.weight)
        for neuron in plan.moved:
            least = ended(least_change(plan.demands(neuron), self.norm))
            change[neuron], self.programs = least.vector, self.programs + least.programs
        return change

    def _neuron_size(self, plans: Sequence[Plan], depth: int, neuron: int) -> float:
        plan = plans[depth]
        before = b"" if depth == 0 else blake2b(plan.features.tobytes()).digest()
        key = (depth, neuron, before, plan.wanted[:, neuron].tobytes())
        if key not in self._sizes:
            self.programs += 1
            self._sizes[key] = least_size(plan.demands(neuron), self.norm)
        return self._sizes[key]

    def _least_margin_size(self, margins: ClassMargins) -> float:
        """What the hardest input alone takes: a row's coefficients are its features and their negatives."""
        lengths = np.linalg.norm(margins.features, DUAL[self.norm], axis=1)
        both = {"linf": 2.0, "l1": 1.0, "l2": 2.0**0.5}[self.norm]
        missing = np.maximum(margins.floors.max(1, initial=0.0), 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.where(missing > 0, missing / (both * lengths), 0.0).max(initial=0.0))


def total(parts: Vector, norm: Norm) -> float:
    """The norm of a change whose parts have these norms, [P]."""
    return float(np.linalg.norm(parts, ORDER[norm]))
