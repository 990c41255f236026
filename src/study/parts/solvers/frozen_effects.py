"""What a change of a frozen layer does to the logits of the inputs that it is frozen at."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from study.errors import RepairFailed
from study.parts.network.frozen_layer import FrozenLayer
from study.parts.solvers.reference_change import Effects

MOST_ENTRIES = 10**8
"""Of the matrix from a change to the logits, where it has no shorter form."""


def effects_of(layer: FrozenLayer) -> Effects:
    """The changes of all logits, input by input; raises RepairFailed where the matrix would be too large."""
    hidden = _read_by_one(layer)
    if hidden is not None:
        inputs = layer.entering[0].numpy()
        if layer.module.bias is not None:
            inputs = np.column_stack([inputs, np.ones(len(inputs))])
        weights = hidden.weight.detach().numpy()
        return Effects.of_two_layers(inputs, layer.choices[0].numpy(), weights, biases=bool(layer.later))
    classes = layer.at(np.zeros(layer.width))[0].shape[1]
    if layer.run.after and layer.count * classes * layer.width > MOST_ENTRIES:
        raise RepairFailed("objective=reference has too many coefficients here: it needs fewer points or units")
    items = torch.arange(layer.count).repeat_interleave(classes)
    return Effects.of_rows(layer.logit_rows(items, torch.arange(classes).repeat(layer.count)))


def _read_by_one(layer: FrozenLayer) -> nn.Linear | None:
    """The last Linear, where a whole Linear layer, a ReLU and that one are all there is."""
    run, last, relus = layer.run, list[nn.Linear](), 0
    if not isinstance(layer.module, nn.Linear) or len(layer.units) < layer.module.out_features:
        return None
    for step in run.after:
        module = run.modules.get(step.target) if step.op == "call_module" else None
        if step.kind == "relu" and step.slope(run.modules) == 0 and not last:
            relus += 1
        elif isinstance(module, nn.Linear):
            last.append(module)
        elif not isinstance(module, (nn.Dropout, nn.Identity)):
            return None
    return last[0] if len(last) == relus == 1 else None
