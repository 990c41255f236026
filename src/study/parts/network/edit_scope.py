"""Which parameters of a network an editor changes, and the prefix before them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, fx, nn

from study.errors import NotApplicable
from study.parts.network.layers import calls_of
from study.parts.network.structure import Structure

Scope = Literal["auto", "all"] | list[str]
SMALL = 1_000_000
"""Parameters up to which `auto` means all of them."""


def scope_parameters(model: nn.Module, scope: Scope, example: Tensor) -> list[str]:
    """Names of the parameters that `scope` stands for, in the order of `named_parameters`.

    Args:
        model: in eval mode.
        scope: `all`; a list of modules of the network, each with its submodules; `auto`: all parameters of a network
            of up to a million, otherwise those of its last convolutional stage (all, if it has no convolution).
        example: an input, [1, ...].

    Raises NotApplicable if a module of the list is not in the network or holds no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    if scope == "auto":
        small = sum(parameter.numel() for parameter in model.parameters()) <= SMALL
        scope = "all" if small else last_convolutional_stage(model, example) or "all"
    if scope == "all":
        return names
    owned = {module: _owned(names, module) for module in scope}
    if empty := [module for module in scope if not owned[module]]:
        raise NotApplicable(f"the network has no parameters in {empty[0]!r}, which edit_scope names")
    chosen = {name for group in owned.values() for name in group}
    return [name for name in names if name in chosen]


def last_convolutional_stage(model: nn.Module, example: Tensor) -> list[str]:
    """Modules with parameters of their own whose output is as high and wide as that of the last convolution.

    That is the fifth block of a VGG16, `layer4` of a ResNet18, `denseblock4` of a DenseNet121; empty if no Conv2d runs.
    """
    calls = calls_of(model, example, lambda module: next(module.parameters(recurse=False), None) is not None)
    sizes = [call.shape[2:] for call in calls if isinstance(call.module, nn.Conv2d)]
    return list(dict.fromkeys(call.name for call in calls if sizes and call.shape[2:] == sizes[-1]))


def cut_before(model: nn.Module, edited: Sequence[str]) -> tuple[nn.Module, nn.Module]:
    """Prefix and suffix of a network in eval mode at the latest layer that no parameter in `edited` precedes.

    They share their parameters with it, under the same names. The suffix is the whole network if all of it is edited or
    if it cannot be traced or cut.
    """
    if len(edited) == len(list(model.parameters())):
        return nn.Identity(), model  # nothing to gain; and tracing drops the backward of a custom autograd function
    try:
        structure = Structure(model)
    except NotApplicable:
        return nn.Identity(), model
    nodes = list(structure.graph.nodes)
    first = next((number for number, node in enumerate(nodes) if _uses(node, edited)), 0)
    return structure.latest_cut([layer.node for layer in structure.layers if nodes.index(layer.node) <= first])


def _owned(names: Sequence[str], module: str) -> list[str]:
    """The parameters of a module that is named within `net` or, if there is none, within the whole classifier."""
    within = [name for name in names if name.removeprefix("net.").startswith(f"{module}.")]
    return within or [name for name in names if name.startswith(f"{module}.")]


def _uses(node: fx.Node, parameters: Sequence[str]) -> bool:
    if node.op == "call_module":
        return any(name.startswith(f"{node.target}.") for name in parameters)
    return node.op == "get_attr" and node.target in parameters
