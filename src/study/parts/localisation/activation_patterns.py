"""Activation patterns that imply a class: which hidden units are on and off wherever a network answers it.

After the authors of NNrepair (D. Gopinath, H. Converse, C. Pasareanu, A. Taly, "Property Inference for Deep Neural
Networks", ASE 2019): a decision tree on the units' states, whose pure leaves are the patterns.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor


class Pattern(NamedTuple):
    """units: [T] int64, of a layer, in ascending order; on: [T] bool, the state of each."""

    units: Tensor
    on: Tensor


def class_patterns(on: Tensor, predicted: Tensor, seed: int) -> dict[int, Pattern]:
    """For each class that has a pure leaf, the pattern of that with the most inputs (of equals the first).

    Args:
        on: [N, R] bool, which units are on for each input, N >= 1.
        predicted: [N] int64, the class that the network answers.
        seed: of the tree, which decides between equal splits.
    """
    fitted = DecisionTreeClassifier(random_state=seed).fit(on.cpu().numpy(), predicted.cpu().numpy())
    tree = fitted.tree_
    largest: dict[int, tuple[int, dict[int, bool]]] = {}
    waiting: list[tuple[int, dict[int, bool]]] = [(0, {})]
    while waiting:
        node, states = waiting.pop()
        if tree.children_left[node] >= 0:
            unit = int(tree.feature[node])
            waiting += [(tree.children_right[node], states | {unit: True})]
            waiting += [(tree.children_left[node], states | {unit: False})]
        elif tree.impurity[node] == 0 and states:
            label = int(fitted.classes_[tree.value[node][0].argmax()])
            if int(tree.n_node_samples[node]) > largest.get(label, (0, {}))[0]:
                largest[label] = (int(tree.n_node_samples[node]), states)
    return {label: _pattern(states) for label, (_, states) in sorted(largest.items())}


def _pattern(states: dict[int, bool]) -> Pattern:
    units = sorted(states)
    return Pattern(torch.tensor(units), torch.tensor([states[unit] for unit in units]))
