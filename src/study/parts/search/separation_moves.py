"""Which values a set of inputs should take behind the ReLUs of a chain of dense layers: proposals and their search.

Source of the search and of its first three heuristics: I. Refaeli & G. Katz, "Minimal Multi-Layer Modifications of Deep
Neural Networks", 2022; what the paper leaves open is ours, and so is `realisable`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from study.parts.solvers.demands import Items
from study.parts.solvers.linear_program import Vector
from study.parts.solvers.sub_networks import Moves, SubNetworks

Heuristic = Literal["greedy", "random", "mcts", "realisable"]
Proposals = Generator[list[Vector], float, None]
"""Yields moves and is sent their size, infinite where it is not below the limit that the heuristic keeps to."""
STEPS = (0.02, 0.05, 0.1)
"""Sizes of a move, in mean positive values of the layer."""
DENSITIES = (0.02, 0.1, 0.5)
NEURONS = 30
PATIENCE = 50
FINEST = 2**-8
"""Greedy proposals end where the steps are this share of what they were."""
EXPLORATION, DEPTH, ROLL_OUT, ACTIONS = 1.4, 10, 5, 32
ROUND = 50


@dataclass
class Found:
    """The moves with the least size, that size after each round, and the number of proposals."""

    moves: list[Vector]
    sizes: list[float] = field(default_factory=list)
    evaluations: int = 0


def searched(
    networks: SubNetworks,
    heuristic: Heuristic,
    size: float,
    budget: int,
    random: np.random.Generator,
    seconds: float | None = None,
) -> Generator[Mapping[str, float], None, Found]:
    """The best of `budget` proposals, or of those that could be tried in time; yields after every 50 what to log.

    size: of the change without any move, which is the result where no proposal is smaller.
    """
    end = math.inf if seconds is None else time.monotonic() + seconds
    found = Found(networks.unmoved(), [size])
    proposals, slack = HEURISTICS[heuristic](Space(networks, random), size), SLACK.get(heuristic, 1.0)
    sent, best = None, size
    while found.evaluations < budget and time.monotonic() < end:
        try:
            moves = next(proposals) if sent is None else proposals.send(sent)
        except StopIteration:
            break
        sent = networks.size(moves, slack * best)
        found.evaluations += 1
        if sent < best * (1 - 1e-9):
            best, found.moves = sent, moves
        if found.evaluations % ROUND == 0:
            found.sizes.append(best)
            yield {"search/size": best, "search/programs": networks.programs}
    found.sizes.append(best)
    return found


class Draw(NamedTuple):
    """Neurons of a hidden layer, [n], and by how much each is to move on one point."""

    depth: int
    point: int
    neurons: Items
    steps: Vector


class Space:
    """What heuristics draw from: the layers' values without moves, and what would help a point's label.

    scales: mean positive value of each hidden layer, the unit of its moves.
    """

    def __init__(self, networks: SubNetworks, random: np.random.Generator) -> None:
        self.networks, self.random = networks, random
        self.plans = networks.plans(networks.unmoved())
        positive = [plan.wanted[plan.wanted > 0] for plan in self.plans]
        self.scales = [float(values.mean()) if len(values) else 1.0 for values in positive]
        margins = networks.margins(self.plans[-1].wanted)
        self.rivals = margins.floors.argmax(1)

    def gains(self, depth: int, point: int) -> Vector:
        """How fast the lead of the point's label over its strongest rival grows with each value of the layer, [w]."""
        layers, label = self.networks.layers, self.networks.labels[point]
        gains: Vector = layers[-1].weight[label] - layers[-1].weight[self.rivals[point]]
        for number in range(len(self.plans) - 1, depth, -1):
            on = self.plans[number].present[point] > 0
            gains = (gains[: len(on)] * on) @ layers[number].weight
        width = self.plans[depth].wanted.shape[1]
        return gains[:width]

    def draw(self, scale: float) -> Draw:
        """The most helpful of the active neurons of a random layer on a random point, as many as chance says."""
        depth, point = int(self.random.integers(len(self.plans))), int(self.random.integers(len(self.rivals)))
        gains = self.gains(depth, point)
        active = np.flatnonzero(self.plans[depth].wanted[point] > 0)
        count = int(self.random.integers(1, NEURONS + 1))
        chosen = active[np.argsort(-np.abs(gains[active]), kind="stable")[:count]]
        step = scale * self.random.choice(STEPS) * self.scales[depth]
        return Draw(depth, point, chosen, step * np.sign(gains[chosen]))


def greedy(space: Space, size: float) -> Proposals:
    """From the best moves so far, the most helpful neurons of one point; finer steps after many failures in a row."""
    best, moves, scale, failures = size, space.networks.unmoved(), 1.0, 0
    while scale >= FINEST:
        drawn = space.draw(scale)
        tried = _moved(moves, drawn)
        size = yield tried
        failures += 1
        if size < best:
            best, moves, failures = size, tried, 0
        elif failures == PATIENCE:
            scale, failures = scale / 2, 0


def noise(space: Space, size: float) -> Proposals:
    """From no moves, normal noise on some values."""
    draw = space.random
    while True:
        density, step = draw.choice(DENSITIES), draw.choice(STEPS)
        yield [
            (draw.random(plan.wanted.shape) < density) * draw.normal(0.0, step * scale, plan.wanted.shape)
            for plan, scale in zip(space.plans, space.scales, strict=True)
        ]


def realisable(space: Space, size: float) -> Proposals:
    """From the best changes of weights so far, some neurons' weights; the moves are what these do, so never impossible.

    Of more points than a layer has inputs, hardly any other values can be reached.
    """
    best, changes, failures, scale = size, [np.zeros_like(layer.weight) for layer in space.networks.layers[:-1]], 0, 1.0
    while scale >= FINEST:
        drawn = space.draw(scale)
        features = space.plans[drawn.depth].features[drawn.point]
        used = np.sign(features) * (space.random.random(features.shape) < 0.5)
        reach = max(float(np.abs(features * used).sum()), np.finfo(float).tiny)
        tried = [change.copy() for change in changes]
        tried[drawn.depth][drawn.neurons] += drawn.steps[:, None] * used / reach
        size = yield _effects(space.networks, tried)
        failures += 1
        if size < best:
            best, changes, failures = size, tried, 0
        elif failures == PATIENCE:
            scale, failures = scale / 2, 0


@dataclass
class _Node:
    """Moves in the tree of mcts, the actions not tried from it yet, and its rewards."""

    moves: list[Vector]
    untried: list[int]
    parent: _Node | None = None
    children: list[_Node] = field(default_factory=list)
    visits: int = 0
    reward: float = 0.0

    def path(self) -> list[_Node]:
        """The nodes from the root to this one."""
        return [*([] if self.parent is None else self.parent.path()), self]

    def bound(self) -> float:
        """The upper confidence bound by which a child is chosen."""
        assert self.parent is not None
        return self.reward / self.visits + EXPLORATION * math.sqrt(math.log(self.parent.visits) / self.visits)


def mcts(space: Space, size: float) -> Proposals:
    """Monte-Carlo tree search over the most helpful single moves, with random roll-outs; reward: size / new size."""
    actions = _actions(space)
    order = list(range(len(actions)))
    root = _Node(space.networks.unmoved(), list(space.random.permutation(order)))
    while actions:
        node = root
        while not node.untried and node.children:
            node = max(node.children, key=_Node.bound)
        if node.untried:
            untried = list(space.random.permutation(order)) if len(node.path()) < DEPTH else []
            child = _Node(_moved(node.moves, actions[node.untried.pop()]), untried, node)
            node.children.append(child)
            node = child
        moves = node.moves
        reward = size / max((yield moves), 1e-300)
        for choice in space.random.integers(len(actions), size=ROLL_OUT):
            moves = _moved(moves, actions[choice])
        reward = min(1.0, max(reward, size / max((yield moves), 1e-300)))
        for passed in node.path():
            passed.visits, passed.reward = passed.visits + 1, passed.reward + reward


def _actions(space: Space) -> list[Draw]:
    """The largest gains among all layers, points and active neurons, each a move of one value."""
    found = list[tuple[float, Draw]]()
    for depth, plan in enumerate(space.plans):
        for point in range(len(space.rivals)):
            gains = space.gains(depth, point)
            for neuron in np.flatnonzero(plan.wanted[point] > 0):
                step = STEPS[-1] * space.scales[depth] * np.sign(gains[neuron : neuron + 1])
                found.append((abs(float(gains[neuron])), Draw(depth, point, np.array([neuron]), step)))
    found.sort(key=lambda pair: -pair[0])
    return [draw for _, draw in found[:ACTIONS]]


def _moved(moves: Moves, drawn: Draw) -> list[Vector]:
    """Copies of the moves with one more."""
    copies = [move.copy() for move in moves]
    copies[drawn.depth][drawn.point, drawn.neurons] += drawn.steps
    return copies


def _effects(networks: SubNetworks, changes: list[Vector]) -> list[Vector]:
    """The moves that changes of the hidden layers' weights amount to."""
    moves, values = list[Vector](), networks.values
    for layer, change in zip(networks.layers[:-1], changes, strict=True):
        features = layer.entering(values)
        before, values = (np.maximum(features @ weight.T, 0.0) for weight in (layer.weight, layer.weight + change))
        moves.append(values - before)
    return moves


HEURISTICS: dict[Heuristic, Callable[[Space, float], Proposals]] = {
    "greedy": greedy,
    "random": noise,
    "mcts": mcts,
    "realisable": realisable,
}
SLACK: dict[Heuristic, float] = {"mcts": 2.0}
"""Where a heuristic learns from sizes above the best: up to how many times it they are computed."""
