"""Choosing the layer after which a network is frozen."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn

from study.errors import NotApplicable, UsageError, nearest
from study.models.frozen_run import FrozenRun, traced
from study.parts.network.layers import output_layer
from study.parts.network.structure import WEIGHTED


def run_from(model: nn.Module, name: str, example: Tensor, *, signs: int | None = None) -> FrozenRun:
    """The network from its layer `name` on; `auto`: from the last Linear before a ReLU and another Linear, or the last.

    Args:
        model: in eval mode; example: [B, ...], inputs to try it with.
        signs: at most so many frozen choices per input, None: any number.

    Raises NotApplicable where there is no such layer, and UsageError for the name of none.
    """
    graph = traced(model)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, WEIGHTED)}
    if graph is None:
        layers = {last: layers[last] for last in [output_layer(model, example)]}
    if name == "auto":
        run = _usual(model, layers, graph)
    elif name in layers:
        run = FrozenRun(model, name, graph)
    else:
        raise UsageError(f"method.layer={name} is no Linear or Conv2d layer of the network: {nearest(name, layers)}")
    module = run.modules[run.layer]
    if isinstance(module, nn.Conv2d) and (module.groups != 1 or module.padding_mode != "zeros"):
        raise NotApplicable(f"needs a convolution of one group, padded with zeros: {run.layer} is another")
    _try(run, example, signs)
    return run


def _usual(model: nn.Module, layers: Mapping[str, nn.Module], graph: fx.Graph | None) -> FrozenRun:
    """From the last Linear before a ReLU and another Linear; without one from the last Linear."""
    linear = [name for name, module in layers.items() if isinstance(module, nn.Linear)]
    runs = list[FrozenRun]()
    reason = NotApplicable("needs a Linear layer: the network has none")
    for name in linear:
        try:
            runs.append(FrozenRun(model, name, graph))
        except NotApplicable as why:
            reason = why
    if not runs:
        raise reason
    runs.sort(key=lambda run: len(run.after))
    hidden = [run for run in runs if run.hidden]
    return (hidden or runs)[0]


def _try(run: FrozenRun, example: Tensor, signs: int | None) -> None:
    """Run it once; raises NotApplicable where a layer does not work on a vector or an image, or too much is frozen."""
    with torch.inference_mode():
        entering = run.entering(example)
        module = run.modules[run.layer]
        output = module(entering[0])
        if output.dim() != (2 if isinstance(module, nn.Linear) else 4):
            raise NotApplicable(f"needs a layer on one vector per input: {run.layer} works on more")
        if signs is None:
            return
        count = run.frozen(entering, output, run.choices(entering, output)).slacks.shape[1]
    if count > signs:
        what = f"at most {signs:,} units and pooled elements after the layer"
        raise NotApplicable(f"needs {what}: after {run.layer} there are {count:,}")
