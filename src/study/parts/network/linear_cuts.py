"""The Linear layers at which a network can be cut: one vector per input enters, and what it gives is all that follows.

There a neuron is one coordinate of the vector, and to force or to scale it is a rank-one change of the layer's output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from study.data.split import Split
from study.errors import NotApplicable
from study.parts.network.activations import activations
from study.parts.network.layers import calls_of, output_layer
from study.parts.network.structure import Layer, Structure
from study.problem.problem import Problem


@dataclass(frozen=True)
class LinearCut:
    """A Linear layer and the rest of the network, both with the network's own parameters.

    name: as in `named_modules`; suffix: from the layer's output [B, M] to the logits, of the output layer the identity.
    """

    name: str
    layer: nn.Linear
    suffix: nn.Module

    def logits(self, features: Tensor) -> Tensor:
        """Logits [B, C] of what enters the layer, [B, N], without gradient."""
        with torch.no_grad():
            result: Tensor = self.suffix(self.layer(features))
        return result


def linear_cuts(model: nn.Module, example: Tensor) -> list[LinearCut]:
    """Every Linear layer of `model` (in eval mode) at which it can be cut, in the order they run on `example` [B, ...].

    Where the model cannot be traced, the output layer alone. Raises NotApplicable where there is none.
    """
    try:
        structure = Structure(model)
    except NotApplicable:
        return [_at_output(model, output_layer(model, example))]
    calls = calls_of(model, example, lambda module: isinstance(module, nn.Linear))
    of_vectors = {call.name for call in calls if len(call.shape) == 2}
    cuts = [_cut(structure, layer) for layer in structure.layers if layer.name in of_vectors]
    found = [cut for cut in cuts if cut is not None]
    if not found:
        raise NotApplicable("the network has no Linear layer on one vector per input at which it can be cut in two")
    return found


def linear_cut(model: nn.Module, name: str, example: Tensor) -> LinearCut:
    """The cut at the layer `name`; raises NotApplicable where there is none."""
    for cut in linear_cuts(model, example):
        if cut.name == name:
            return cut
    raise NotApplicable(f"the network cannot be cut in two at {name}")


def dense_end(problem: Problem, *, last_only: bool) -> tuple[Problem, list[LinearCut]]:
    """The problem of the end of the network, from its first cut on or from its last, and the cuts in that end.

    Its repair and validation splits hold what enters that end, so that nothing before it runs again; the modules have
    the network's names. Train split and history stay out of it: they are those of `problem`. Of a network that cannot
    be traced it is the problem itself. Raises NotApplicable as `linear_cuts` does.
    """
    cuts = linear_cuts(problem.faulty, problem.repair_set.fetch(problem.failing[:2]).inputs)
    cuts = cuts[-1:] if last_only else cuts
    try:
        prefix, end = Structure(problem.faulty).cut_up_to(cuts[0].name)
    except NotApplicable:
        return problem, cuts
    if end is problem.faulty:
        return problem, cuts
    repair_set, validation = (
        Split(split.name, activations(prefix, split), split.labels, split.groups)
        for split in (problem.repair_set, problem.validation)
    )
    inside = linear_cuts(end, repair_set.fetch(problem.failing[:2]).inputs)
    return replace(problem, faulty=end, repair_set=repair_set, validation=validation), inside[-len(cuts) :]


def _cut(structure: Structure, layer: Layer) -> LinearCut | None:
    if not isinstance(layer.module, nn.Linear):
        return None
    try:
        _, suffix = structure.cut_after(layer.node)
    except NotApplicable:  # a connection passes the layer by
        return None
    if all(node.op in ("placeholder", "output") for node in suffix.graph.nodes):
        return LinearCut(layer.name, layer.module, nn.Identity())
    return LinearCut(layer.name, layer.module, suffix)


def _at_output(model: nn.Module, name: str) -> LinearCut:
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return LinearCut(name, layer, nn.Identity())
