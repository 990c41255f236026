"""Blocks of a network that can be probed: each owns one layer, and is read where what that layer made is complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, fx, nn

from study.data.split import Split
from study.errors import NotApplicable
from study.parts.network.structure import Layer, Structure, entering
from study.problem.prediction import BATCH

EARLY = 2
"""Spatial stages that are called early."""


@dataclass(frozen=True)
class Block:
    """A block of a network.

    layer: the one whose weight is the block's; start: the latest tensor before that layer that everything passes; end:
    what a probe reads; shape: of that, without the batch, one number for a vector; elements: size of `start` per input;
    early: one of the first two spatial stages.
    """

    layer: str
    start: fx.Node
    end: fx.Node
    shape: torch.Size
    elements: int
    early: bool = False


def blocks_of(structure: Structure, example: Tensor) -> list[Block]:
    """The blocks of a network in the order they run; `example`: [B, ...], inputs to try it with.

    One for each spatial stage, which owns its last convolution, and one for each Linear layer that everything passes;
    none for the classifier, the last layer. A stage is what has one height and width. In a network with sums or
    concatenations it ends at the last of these, and a concatenation is read after the pooling that follows it;
    elsewhere it is read after the activation and the pooling of its last convolution. A Linear layer is read after its
    activation. Raises NotApplicable where there are fewer than two.
    """
    shapes = _shapes(structure, example)
    ends = structure.stage_ends(_output(structure))
    passed = _passed_by_all(structure)
    place = {node: number for number, node in enumerate(structure.graph.nodes)}
    found = _spatial(structure, shapes, ends)
    for layer in structure.layers[:-1]:
        if isinstance(layer.module, nn.Linear) and len(shapes[layer.node]) == 2 and layer.node in passed:
            found.append((layer, _read(structure, layer, ends)))
    if len(found) < 2:
        raise NotApplicable(f"needs two blocks with a weight before the last layer: the network has {len(found)}")
    maps = [layer.name for layer, end in found if len(shapes[end]) == 4][:EARLY]
    blocks = []
    for layer, end in sorted(found, key=lambda pair: place[pair[1]]):
        start = [node for node in passed if place[node] < place[layer.node]][-1]
        elements = shapes[start][1:].numel()
        blocks.append(Block(layer.name, start, end, shapes[end][1:], elements, layer.name in maps))
    return blocks


def segment(structure: Structure, start: fx.Node, *ends: fx.Node) -> fx.GraphModule:
    """Maps what `start` produces to what `ends` produce: one tensor, or a tuple of several.

    Nothing between may need a tensor from before `start`. Parameters keep their names and are shared.
    """
    graph = fx.Graph()
    # A copy, because what runs first may work in place, and the features may be used again.
    copies = {start: graph.call_method("clone", (graph.placeholder("features"),))}
    started = False
    for node in structure.graph.nodes:
        if all(end in copies for end in ends):
            break
        if node is not start and (started or node.op == "get_attr"):
            copies[node] = graph.node_copy(node, lambda old: copies[old])
        started = started or node is start
    graph.output(tuple(copies[end] for end in ends) if len(ends) > 1 else copies[ends[0]])
    return fx.GraphModule(structure.model, graph).eval()


def readings(structure: Structure, blocks: Sequence[Block], split: Split) -> list[Tensor]:
    """What a probe of each of two or more blocks reads on a split, [N, *block.shape] each, without gradient."""
    network = segment(structure, inlet(structure), *(block.end for block in blocks))
    with torch.no_grad():
        parts = [network(batch.inputs) for batch in split.batches(BATCH)]
    return [torch.cat(tensors) for tensors in zip(*parts, strict=True)]


def inlet(structure: Structure) -> fx.Node:
    """The node of the network's input."""
    node: fx.Node = next(iter(structure.graph.nodes))
    return node


def outlet(structure: Structure) -> fx.Node:
    """The node that produces the logits."""
    return entering(_output(structure))


def _output(structure: Structure) -> fx.Node:
    output: fx.Node = next(node for node in structure.graph.nodes if node.op == "output")
    return output


def _spatial(
    structure: Structure, shapes: Mapping[fx.Node, torch.Size], ends: list[fx.Node]
) -> list[tuple[Layer, fx.Node]]:
    """The layer of each spatial stage and where it is read."""
    convolutions = [layer for layer in structure.layers[:-1] if len(shapes[layer.node]) == 4]
    joins = [node for node in ends if len(shapes[node]) == 4 and _joins(structure, node)]
    place = {node: number for number, node in enumerate(structure.graph.nodes)}
    if joins:
        stages = []
        for node in joins:
            before = [layer for layer in convolutions if place[layer.node] < place[node]]
            if before:
                stages.append((before[-1], node, _after_pooling(structure, node, ends)))
    else:
        stages = [(layer, layer.node, _read(structure, layer, ends)) for layer in convolutions]
    sizes = [shapes[node][2:] for _, node, _ in stages]
    last = [one != other for one, other in pairwise([*sizes, torch.Size()])]
    return [(layer, end) for (layer, _, end), closes in zip(stages, last, strict=True) if closes]


def _joins(structure: Structure, node: fx.Node) -> bool:
    """Whether a node is a sum or a concatenation, or the activation of one."""
    if structure.operation(node) == "relu":
        node = entering(node)
    return structure.operation(node) in ("add", "iadd", "cat", "concat")


def _read(structure: Structure, layer: Layer, ends: list[fx.Node]) -> fx.Node:
    """The last end of a stage before the next layer, up to a pooling; what the layer makes if there is none."""
    weighted = {other.node for other in structure.layers}
    result = node = layer.node
    while (node := node.next) not in weighted and node.op != "output":
        if node in ends:
            result = node
            if "pool" in structure.operation(node):
                break
    return result


def _after_pooling(structure: Structure, node: fx.Node, ends: list[fx.Node]) -> fx.Node:
    """The pooling that comes next after a concatenation; the node itself after a sum, or if something else is next."""
    following = ends[ends.index(node) + 1 :]
    concatenates = structure.operation(node) in ("cat", "concat")
    skipped = [each for each in following if structure.operation(each) != "relu"]
    return skipped[0] if concatenates and skipped and "pool" in structure.operation(skipped[0]) else node


def _passed_by_all(structure: Structure) -> list[fx.Node]:
    """The tensors that everything passes, in order: after one of them nothing older is used."""
    place = {node: number for number, node in enumerate(structure.graph.nodes)}
    passed, reach = list[fx.Node](), 0
    for node in structure.graph.nodes:
        if node.op == "get_attr":
            continue
        if reach <= place[node]:
            passed.append(node)
        reach = max([reach, *(place[user] for user in node.users)])
    return passed


def _shapes(structure: Structure, example: Tensor) -> dict[fx.Node, torch.Size]:
    """Shape of every tensor that a node produces on `example`; of no tensor: empty."""
    shapes: dict[fx.Node, torch.Size] = {}

    class Noting(fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            result = super().run_node(node)
            shapes[node] = result.shape if isinstance(result, Tensor) else torch.Size()
            return result

    with torch.no_grad():
        Noting(fx.GraphModule(structure.model, structure.graph)).run(example)
    return shapes
