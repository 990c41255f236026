"""The structure of a network: its layers in order, what comes before and after one, the chain of its head.

Built on torch.fx. Of a network that cannot be traced (control flow that depends on data) `layers` still finds some
layers by running it once; whatever needs more is not applicable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from study.errors import NotApplicable
from study.models.frozen_steps import operation

WEIGHTED = (nn.Linear, nn.Conv2d)
_FUNCTIONS: dict[Any, type[nn.Module]] = {
    torch.relu: nn.ReLU,
    functional.relu: nn.ReLU,
    torch.flatten: nn.Flatten,
    "relu": nn.ReLU,
    "flatten": nn.Flatten,
}
_ENDS = {"relu", "relu6", "leakyrelu", "gelu", "silu", "hardswish", "add", "iadd", "cat", "concat"}
_ENDS |= {"maxpool2d", "avgpool2d", "adaptivemaxpool2d", "adaptiveavgpool2d"}
"""Operations that end a stage, named as by `Structure.operation`."""


@dataclass(frozen=True)
class Layer:
    """A Linear or Conv2d layer that runs once per forward pass; `name` as in `named_modules` of the model."""

    name: str
    module: nn.Module
    node: fx.Node
    activated: bool  # a ReLU follows directly


class Structure:
    """The structure of `model`, which must be in eval mode; the parts share their parameters with it.

    Raises NotApplicable where the model cannot be traced.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        try:
            self.graph = fx.Tracer().trace(model)
        except Exception as error:  # tracing runs the user's forward on proxies, which may raise anything
            raise NotApplicable(f"{type(model).__name__} cannot be traced by torch.fx ({error})") from error
        self.modules: dict[str, nn.Module] = dict(model.named_modules())

    @cached_property
    def layers(self) -> list[Layer]:
        """Linear and Conv2d layers in the order they run, those that run more than once left out."""
        calls = [node for node in self.graph.nodes if node.op == "call_module"]
        names = [node.target for node in calls]
        return [
            Layer(node.target, self.modules[node.target], node, self._is_activated(node))
            for node in calls
            if isinstance(self.modules[node.target], WEIGHTED) and names.count(node.target) == 1
        ]

    def _is_activated(self, node: fx.Node) -> bool:
        return any(_kind(self, user) is nn.ReLU for user in node.users)

    def layer(self, name: str) -> Layer:
        """The layer of that name; raises KeyError if there is none."""
        return next(layer for layer in self.layers if layer.name == name)

    def prefix(self, node: fx.Node) -> fx.GraphModule:
        """Maps the model's input to the tensor that enters `node` (its first argument)."""
        graph, copies = self._copied_before(node)
        graph.output(copies[entering(node)])
        return _assembled(self.model, graph)

    def cut(self, node: fx.Node) -> tuple[fx.GraphModule, fx.GraphModule]:
        """Prefix and suffix at the tensor that enters `node`; raises NotApplicable as `suffix` does."""
        return self.prefix(node), self.suffix(node)

    def cut_after(self, node: fx.Node) -> tuple[fx.GraphModule, fx.GraphModule]:
        """Prefix and suffix at the tensor that `node` produces, for one that enters all of its users alone.

        Raises NotApplicable where a later layer also needs something computed before.
        """
        graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
        for current in self.graph.nodes:
            copies[current] = graph.node_copy(current, lambda old: copies[old])
            if current is node:
                break
        graph.output(copies[node])
        return _assembled(self.model, graph), self._continued(node, after=node)

    def cut_up_to(self, name: str) -> tuple[nn.Module, nn.Module]:
        """Prefix and suffix at the latest layer up to `name` where the network can be cut in two.

        The suffix is the whole network where that is before its first layer.
        """
        names = [layer.name for layer in self.layers]
        return self.latest_cut([layer.node for layer in self.layers[: names.index(name) + 1]])

    def latest_cut(self, nodes: Sequence[fx.Node]) -> tuple[nn.Module, nn.Module]:
        """Prefix and suffix at the last of `nodes` where the network can be cut in two; at none: all is suffix."""
        for node in reversed(nodes):
            try:
                return self.cut(node)
            except NotApplicable:
                continue
        return nn.Identity(), self.model

    def trace(self, node: fx.Node, passed: Sequence[fx.Node]) -> fx.GraphModule:
        """Maps the model's input to the tensors that the nodes `passed` produce, all of them before `node`, and, as the
        last of the tuple, the one that enters `node`."""
        graph, copies = self._copied_before(node)
        graph.output(tuple(copies[each] for each in (*passed, entering(node))))
        return _assembled(self.model, graph)

    def _copied_before(self, node: fx.Node) -> tuple[fx.Graph, dict[fx.Node, fx.Node]]:
        """A graph of what runs before `node`, without output, and the copy of each node in it."""
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        for current in self.graph.nodes:
            if current is node:
                break
            copies[current] = graph.node_copy(current, lambda old: copies[old])
        return graph, copies

    def stage_ends(self, node: fx.Node) -> list[fx.Node]:
        """Where the stages before `node` end, in the order they run.

        Those activations, poolings, sums and concatenations that everything passes: in a chain each ReLU and each
        pooling, in a ResNet the stem and the blocks, in a DenseNet the blocks and the transitions between them. What a
        ReLU follows at once is left out.
        """
        place = {each: number for number, each in enumerate(self.graph.nodes)}
        ends, reach = list[fx.Node](), 0
        for current in self.graph.nodes:
            if current is node:
                break
            users = [] if self._is_size(current) else [user for user in current.users if not self._is_size(user)]
            passed_by = reach > place[current]
            if current.op != "get_attr":
                reach = max([reach, *(place[user] for user in users)])
            rectified = len(users) == 1 and self.operation(users[0]) == "relu"
            if not passed_by and not rectified and self.operation(current) in _ENDS:
                ends.append(current)
        return ends

    def operation(self, node: fx.Node) -> str:
        """What a node computes, whether module, function or method: `relu`, `maxpool2d`, `cat`, ..."""
        if node.op == "call_module":
            return type(self.modules[str(node.target)]).__name__.replace("_", "").lower()
        return operation(node)

    def _is_size(self, node: fx.Node) -> bool:
        """Whether a node gives the shape of a tensor, or an entry of it."""
        name = self.operation(node)
        if name == "getitem" and isinstance(node.args[0], fx.Node):
            return self._is_size(node.args[0])
        return name in ("size", "dim") or (name == "getattr" and node.args[1] in ("shape", "ndim"))

    def suffix(self, node: fx.Node) -> fx.GraphModule:
        """Maps the tensor that enters `node` to the logits.

        Raises NotApplicable where a later layer also needs something computed before `node` (a residual connection).
        """
        return self._continued(entering(node), before=node)

    def _continued(
        self, tensor: fx.Node, *, before: fx.Node | None = None, after: fx.Node | None = None
    ) -> fx.GraphModule:
        """What runs from the node `before` on, or after the node `after`, as a function of what `tensor` produces."""
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {tensor: graph.placeholder("features")}

        def copied(old: fx.Node) -> fx.Node:
            if old not in copies and old.op == "get_attr":
                copies[old] = graph.node_copy(old)
            if old not in copies:
                place = (before or tensor).target
                raise NotApplicable(f"the network cannot be cut in two at {place}: a connection passes it by")
            return copies[old]

        started = False
        for current in self.graph.nodes:
            started = started or current is before
            if started and current.op != "get_attr":
                copies[current] = graph.node_copy(current, copied)
            started = started or current is after
        return _assembled(self.model, graph)

    @cached_property
    def head(self) -> Head:
        """The longest chain at the end of the network made of Linear, ReLU, LeakyReLU, Flatten, Dropout, BatchNorm1d
        and Identity; raises NotApplicable where the network does not end in one that holds a Linear layer."""
        chain: list[fx.Node] = []
        node = next(node for node in self.graph.nodes if node.op == "output").args[0]
        while isinstance(node, fx.Node) and _kind(self, node) is not None and len(node.users) == 1:
            chain.insert(0, node)
            node = node.args[0] if node.args else None
        while chain and not isinstance(_module(self, chain[0]), nn.Linear):
            chain.pop(0)
        if not chain:
            raise NotApplicable("the network does not end in a chain with a Linear layer")
        names = [str(node.target) if node.op == "call_module" else self.operation(node) for node in chain]
        return Head(chain[0], [_module(self, node) for node in chain], names)


@dataclass(frozen=True)
class Head:
    """The head of a network: it starts at `node` (its first Linear layer) and runs `modules` in order.

    names: of the modules in the network; "relu" or "flatten" where the network runs a function.
    """

    node: fx.Node
    modules: list[nn.Module]
    names: list[str]


def entering(node: fx.Node) -> fx.Node:
    """The node whose tensor enters `node` as its first argument."""
    first = node.args[0]
    assert isinstance(first, fx.Node)
    return first


def _kind(structure: Structure, node: fx.Node) -> type[nn.Module] | None:
    """The class of head module that a node runs, None for any other operation."""
    if node.op == "call_module":
        module = structure.modules[str(node.target)]
        kinds = (nn.Linear, nn.ReLU, nn.LeakyReLU, nn.Flatten, nn.Dropout, nn.BatchNorm1d, nn.Identity)
        return next((kind for kind in kinds if isinstance(module, kind)), None)
    if node.op in ("call_function", "call_method"):
        return _FUNCTIONS.get(node.target)
    return None


def _module(structure: Structure, node: fx.Node) -> nn.Module:
    if node.op == "call_module":
        return structure.modules[str(node.target)]
    kind = _kind(structure, node)
    assert kind is not None
    return kind()


def _assembled(model: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    graph.lint()
    return fx.GraphModule(model, graph).eval()
