"""Running a network and seeing what enters and what leaves some of its layers, differentiably."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, fx, nn

from study.errors import NotApplicable
from study.parts.network.structure import Layer, Structure

_ACTIVATIONS = {
    "relu",
    "relu6",
    "leakyrelu",
    "prelu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "mish",
    "sigmoid",
    "logsigmoid",
} | {"hardsigmoid", "hardswish", "hardtanh", "tanh", "softplus", "softsign"}
TappedRun = Callable[[Tensor], tuple[Tensor, list[tuple[Tensor, Tensor]]]]
"""From inputs to logits, and for each layer the tensors that enter and leave it."""


def tapped_run(model: nn.Module, names: Sequence[str]) -> TappedRun:
    """The function that also tells what enters and what leaves each of the layers `names`.

    What leaves a layer is the output of its activation, if one follows directly. Raises NotApplicable where the model
    cannot be traced and `names` is not its output layer alone.
    """
    try:
        structure = Structure(model)
    except NotApplicable:
        if len(names) != 1:
            raise
        return _hooked(model, names[0])
    layers = [structure.layer(name) for name in names]
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    logits = graph.graph_copy(structure.graph, copies)
    # What enters a layer may be a keyword argument; a Linear or Conv2d has but one input.
    graph.output((logits, [(copies[lay.node.all_input_nodes[0]], copies[_leaving(structure, lay)]) for lay in layers]))
    return fx.GraphModule(model, graph)


def _hooked(model: nn.Module, name: str) -> TappedRun:
    """The same for the output layer of a model that cannot be traced."""

    def run(inputs: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        entered: list[Tensor] = []
        hook = model.get_submodule(name).register_forward_pre_hook(lambda _, values: entered.append(values[0]))
        try:
            logits: Tensor = model(inputs)
        finally:
            hook.remove()
        return logits, [(entered[-1], logits)]

    return run


def _leaving(structure: Structure, layer: Layer) -> fx.Node:
    """The node of the layer's activation if one follows directly, else the layer's own."""
    users = list(layer.node.users)
    return users[0] if len(users) == 1 and _is_activation(structure, users[0]) else layer.node


def _is_activation(structure: Structure, node: fx.Node) -> bool:
    if node.op == "call_module":
        kind = type(structure.modules[str(node.target)]).__name__
    else:
        kind = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return kind.lower().replace("_", "") in _ACTIVATIONS
