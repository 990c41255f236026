"""The steps of a traced network as plain values, and which are affine once ReLUs and max-poolings keep their choice."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from torch import fx, nn

from study.errors import NotApplicable
from study.models.max_pooling import MaxPooling

Kind = Literal["affine", "relu", "pool"]
SIZES = {"size", "getattr", "getitem", "dim"}
"""Operations that read the size of a tensor."""
_AFFINE = (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_IDLE = (nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout2d, nn.Identity)
_FUNCTIONS = SIZES | {"add", "iadd", "sub", "cat", "concat", "flatten", "view", "reshape", "contiguous", "mean"}
_FUNCTIONS |= {"avgpool2d", "adaptiveavgpool2d", "dropout", "squeeze", "unsqueeze", "permute", "transpose"}
_OUT_OF_PLACE = {operator.iadd: operator.add, "add_": "add"}


@dataclass(frozen=True)
class Earlier:
    """Stands for what the step of that name gave."""

    name: str


@dataclass(frozen=True)
class Step:
    """One node of a graph (nodes cannot be copied one by one); done: names of what nothing needs after it."""

    name: str
    op: str
    target: Any
    args: Any
    kwargs: Any
    kind: Kind
    done: tuple[str, ...]

    def entered(self, values: Mapping[str, Any]) -> Any:
        """Its first argument."""
        return values[(*self.args, *self.kwargs.values())[0].name]

    def result(self, values: Mapping[str, Any], modules: Mapping[str, nn.Module]) -> Any:
        """What it gives where earlier steps gave `values`."""
        args, kwargs = (
            fx.node.map_aggregate(given, lambda each: values[each.name] if isinstance(each, Earlier) else each)
            for given in (self.args, self.kwargs)
        )
        if self.op == "call_module":
            return modules[self.target](*args, **kwargs)
        if self.op == "call_method":
            return getattr(args[0], self.target)(*args[1:], **kwargs)
        return self.target(*args, **kwargs)

    def release(self, values: dict[str, Any]) -> None:
        """Forget what is done with."""
        for name in self.done:
            del values[name]

    def slope(self, modules: Mapping[str, nn.Module]) -> float:
        """Of a ReLU or LeakyReLU: its slope below zero."""
        if self.op == "call_module":
            return float(getattr(modules[self.target], "negative_slope", 0.0))
        if "leaky" not in str(getattr(self.target, "__name__", self.target)):
            return 0.0
        return float(self.kwargs.get("negative_slope", self.args[1] if len(self.args) > 1 else 0.01))

    def pooling(self, modules: Mapping[str, nn.Module]) -> MaxPooling:
        """Of a max-pooling: what it does."""
        if self.op == "call_module":
            return MaxPooling.of(modules[self.target])
        names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
        given = {**dict(zip(names, self.args[1:], strict=False)), **self.kwargs}
        return MaxPooling.of(nn.MaxPool2d(**{name: given[name] for name in names if name in given}))


def steps_of(
    nodes: Sequence[fx.Node], kept: Sequence[str], kind: Callable[[fx.Node], Kind] = lambda _: "affine"
) -> list[Step]:
    """Nodes as steps; the values named `kept` are never released."""
    last = {each.name: node for node in nodes for each in (*node.all_input_nodes, node)}
    done: dict[fx.Node, list[str]] = {node: [] for node in nodes}
    for name, node in last.items():
        if name not in kept:
            done[node].append(name)
    steps, stand_in = [], cast(Any, lambda old: Earlier(old.name))
    for node in nodes:
        args, kwargs = (fx.node.map_arg(each, stand_in) for each in (node.args, node.kwargs))
        target = _OUT_OF_PLACE.get(node.target, node.target)
        steps.append(Step(node.name, node.op, target, args, kwargs, kind(node), tuple(done[node])))
    return steps


def operation(node: fx.Node) -> str:
    """What a function or method computes: `relu`, `maxpool2d`, `cat`, ...; of any other node its kind in torch.fx."""
    if node.op not in ("call_function", "call_method"):
        return node.op
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return name.replace("_", "").lower()


def frozen_kind(node: fx.Node, modules: Mapping[str, nn.Module]) -> Kind:
    """How a step runs with its choice frozen; raises NotApplicable where it is not piecewise linear."""
    module = modules[str(node.target)] if node.op == "call_module" else None
    name = type(module).__name__ if module is not None else operation(node)
    if isinstance(module, (nn.ReLU, nn.LeakyReLU)) or name in ("relu", "leakyrelu"):
        return "relu"
    if isinstance(module, nn.MaxPool2d) or name == "maxpool2d":
        return "pool"
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.running_mean is None:
        raise NotApplicable(f"{node.target}, a BatchNorm without running statistics")
    if isinstance(module, (*_AFFINE, *_IDLE)) or (module is None and name in _FUNCTIONS):
        return "affine"
    raise NotApplicable(f"{name} ({node.target})" if module is not None else name)
