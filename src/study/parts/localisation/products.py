"""The forward impact of a dense layer's weights as the mean absolute product of weight and input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from study.data.split import Split
from study.parts.network.taps import TappedRun, tapped_run
from study.problem.prediction import BATCH


def mean_products(inputs: Tensor, weight: Tensor) -> Tensor:
    """Mean over the inputs of |o_i W_ji|, [C, F], for what enters a layer, `inputs` [N, F], and its `weight` [C, F].

    |o_i W_ji| = |o_i| |W_ji|, so the weight leaves the mean: no product per input is formed. N >= 1.
    """
    return inputs.abs().mean(0) * weight.abs()


def layer_products(model: nn.Module, names: Sequence[str], split: Split, indices: Tensor) -> dict[str, Tensor]:
    """`mean_products` of each Linear layer of `names` over the items of `split` at `indices` [N], by name.

    One pass of `model` (in eval mode), without gradient; of a layer that works on several positions per input, the mean
    is over these as well. Raises NotApplicable where the model cannot be traced and `names` is not its output layer
    alone.
    """
    run: TappedRun = tapped_run(model, names)
    totals: dict[str, Tensor] = {}
    counts = dict.fromkeys(names, 0)
    with torch.no_grad():
        for batch in split.batches(BATCH, within=indices):
            for name, (entering, _) in zip(names, run(batch.inputs)[1], strict=True):
                rows = entering.flatten(0, -2).abs()
                totals[name] = totals.get(name, 0.0) + rows.sum(0)
                counts[name] += len(rows)
    means = {name: (total / counts[name])[None] for name, total in totals.items()}
    return {name: mean_products(mean, model.get_parameter(f"{name}.weight").detach()) for name, mean in means.items()}
