"""A network after one of its layers while every later ReLU and max-pooling keeps the choice that it made.

With its choices frozen everything after the layer is affine: layers, BatchNorm in eval mode, average pooling, sums and
concatenations are so anyway, a ReLU is a mask (a unit at exactly 0 counts as on) and a max-pooling picks one element.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from study.errors import NotApplicable
from study.models.frozen_steps import SIZES, Kind, Step, frozen_kind, operation, steps_of
from study.models.max_pooling import picked

Choices = list[Tensor]
"""Of each ReLU which units are on, [B, ...] bool; of each max-pooling the places of the maxima, as torch gives them."""


class Frozen(NamedTuple):
    """Logits [B, C] and by how much each frozen choice holds: slacks [B, S], below 0 where it would be another one.

    Of a unit that is on it is its pre-activation, of one that is off minus that; of a max-pooling the chosen element
    minus each element of its window (infinite in the padding), window by window.
    """

    logits: Tensor
    slacks: Tensor


class FrozenRun:
    """`model` (in eval mode) from the output of its layer `layer` on. Shares its modules with the network.

    later: names of the Linear and Conv2d layers with a bias that run after it; hidden: whether a ReLU and a Linear run
    after it.

    Raises NotApplicable where the layer does not run exactly once, or something after it is not piecewise linear.
    A network that torch.fx cannot trace is run as it is up to `layer`, which is taken to give the logits.
    """

    def __init__(self, model: nn.Module, layer: str, graph: fx.Graph | None = None) -> None:
        self.model, self.layer = model, layer
        self.before: list[Step] | None = None
        self.after: list[Step] = []
        self.frontier, self.start, self.output = [""], layer, layer
        self.modules: dict[str, nn.Module] = dict(model.named_modules(remove_duplicate=False))
        graph = graph or traced(model)
        if graph is not None:
            self._divide(graph)
        self.pools = {step.name: step.pooling(self.modules) for step in self.after if step.kind == "pool"}
        called = [step.target for step in self.after if step.op == "call_module"]
        weighted = [name for name in called if isinstance(self.modules[name], (nn.Linear, nn.Conv2d))]
        self.later = [name for name in dict.fromkeys(weighted) if self.modules[name].bias is not None]
        relus = any(step.kind == "relu" for step in self.after)
        self.hidden = relus and any(isinstance(self.modules[name], nn.Linear) for name in weighted)

    def _divide(self, graph: fx.Graph) -> None:
        """Which steps run before the layer and which after it."""
        nodes = list(graph.nodes)
        starts = [node for node in nodes if node.op == "call_module" and node.target == self.layer]
        if len(starts) != 1:
            raise NotApplicable(f"needs a layer that runs once per input: {self.layer} runs {len(starts)} times")
        start, result = starts[0], nodes[-1].args[0]
        behind = {start}
        for node in nodes[:-1]:
            behind |= {node} if behind.intersection(node.all_input_nodes) else set()
        if not isinstance(result, fx.Node) or result not in behind:
            raise NotApplicable(f"needs logits that depend on the layer {self.layer}: the network's output does not")
        again = set[fx.Node]()  # sizes depend on the batch: they are read once more
        for node in reversed(nodes):
            if node not in behind and operation(node) in SIZES and (behind - {start} | again).intersection(node.users):
                again.add(node)
        after = [node for node in nodes if node in behind - {start} or node in again]
        needed = dict.fromkeys(each for node in after for each in node.all_input_nodes if each not in behind | again)
        if constants := [str(node.target) for node in needed if node.op == "get_attr"]:
            raise NotApplicable(f"needs layers alone after the layer {self.layer}: {constants[0]} is a bare tensor")
        entered = start.all_input_nodes[0]
        frontier = [entered, *(node for node in needed if node is not entered)]
        self.frontier, self.start, self.output = [node.name for node in frontier], start.name, result.name
        rest = [node for node in nodes[: 1 + max(map(nodes.index, frontier))] if node not in behind]
        self.before = steps_of(rest, self.frontier)
        self.after = steps_of(after, [self.output], self._kind)

    def _kind(self, node: fx.Node) -> Kind:
        try:
            return frozen_kind(node, self.modules)
        except NotApplicable as what:
            place = f"after the layer {self.layer}"
            raise NotApplicable(f"needs a network that is piecewise linear {place}: it has {what}") from what

    def double(self) -> FrozenRun:
        """The same after the layer in float64 on the CPU, without gradients and on modules of its own."""
        twin = copy.copy(self)
        called = [self.layer, *(step.target for step in self.after if step.op == "call_module")]
        twin.modules = copy.deepcopy({name: self.modules[name] for name in called})
        for module in twin.modules.values():
            module.double().cpu().requires_grad_(False)
        return twin

    def entering(self, inputs: Tensor) -> list[Tensor]:
        """What the layer and the steps after it need of the `inputs` [B, ...]; what enters the layer comes first."""
        if self.before is None:
            return [_captured(self.model, self.modules[self.layer], inputs)]
        values: dict[str, Any] = {}
        for step in self.before:
            if step.op == "placeholder":
                values[step.name] = step.args[0] if step.args else inputs
            elif step.op == "get_attr":
                values[step.name] = operator.attrgetter(step.target)(self.model)
            else:
                values[step.name] = step.result(values, self.modules)
            step.release(values)
        return [values[name] for name in self.frontier]

    def choices(self, entering: Sequence[Tensor], output: Tensor) -> Choices:
        """The choices that the network makes where the layer's output is `output` [B, ...]."""
        made: Choices = []

        def choice(step: Step, entered: Tensor) -> Tensor:
            made.append(entered >= 0 if step.kind == "relu" else self.pools[step.name].indices(entered))
            return made[-1]

        self._run(entering, output, choice)
        return made

    def logits(self, entering: Sequence[Tensor], output: Tensor, choices: Choices) -> Tensor:
        """Logits [B, C] under the given choices."""
        given = iter(choices)
        return self._run(entering, output, lambda step, entered: next(given))

    def frozen(
        self, entering: Sequence[Tensor], output: Tensor, choices: Choices, offsets: Mapping[str, Tensor] = {}
    ) -> Frozen:
        """Logits and slacks under the given choices, with `offsets` ([n] or [B, n]) added to later layers' outputs."""
        given: Iterator[Tensor] = iter(choices)
        slacks: list[Tensor] = []

        def choice(step: Step, entered: Tensor) -> Tensor:
            chosen = next(given)
            slacks.append(self._slack(step, entered, chosen))
            return chosen

        logits = self._run(entering, output, choice, offsets)
        return Frozen(logits, torch.cat(slacks, 1) if slacks else logits[:, :0])

    def _slack(self, step: Step, entered: Tensor, chosen: Tensor) -> Tensor:
        if step.kind == "relu":
            return torch.where(chosen, entered, -entered).flatten(1)
        windows, inside = self.pools[step.name].windows(entered, chosen.shape[2:])
        return (picked(entered, chosen).flatten(2).unsqueeze(2) - windows).masked_fill(~inside, torch.inf).flatten(1)

    def _run(
        self,
        entering: Sequence[Tensor],
        output: Tensor,
        choice: Callable[[Step, Tensor], Tensor],
        offsets: Mapping[str, Tensor] = {},
    ) -> Tensor:
        """Run the steps after the layer; `choice` says what a ReLU or a max-pooling does with what enters it."""
        values: dict[str, Any] = {**dict(zip(self.frontier, entering, strict=True)), self.start: output}
        for step in self.after:
            if step.kind == "affine":
                result = step.result(values, self.modules)
                if step.op == "call_module" and step.target in offsets:
                    offset = offsets[step.target]
                    result = result + offset.view(*offset.shape, *[1] * (result.dim() - 2))
            else:
                entered = step.entered(values)
                chosen = choice(step, entered)
                if step.kind == "pool":
                    result = picked(entered, chosen)
                else:
                    slope = step.slope(self.modules)
                    result = torch.where(chosen, entered, slope * entered if slope else torch.zeros_like(entered))
            values[step.name] = result
            step.release(values)
        logits: Tensor = values[self.output]
        return logits


def traced(model: nn.Module) -> fx.Graph | None:
    """The graph of a network, None where torch.fx cannot trace it."""
    try:
        return fx.Tracer().trace(model)
    except Exception:  # tracing runs the user's forward on proxies, which may raise anything
        return None


def _captured(model: nn.Module, module: nn.Module, inputs: Tensor) -> Tensor:
    """What enters a module of a network."""
    entered: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, arguments: entered.append(arguments[0]))
    try:
        model(inputs)
    finally:
        hook.remove()
    return entered[-1]
