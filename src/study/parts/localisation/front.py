"""Fault localisation by the failing inputs alone: the weights that both drive the loss and carry much.

After the first Arachne (Sohn, Kang, Yoo, arXiv 1912.12463 v1) as the eAI Repair Toolkit runs it. Other than there the
forward impact is a mean over the failing inputs, not that of the first.
"""

from __future__ import annotations

from torch import Tensor, nn

from study.data.split import Split
from study.parts.localisation.products import layer_products
from study.parts.localisation.weights import Localiser
from study.parts.search.pareto import pareto_front


def failing_front(model: nn.Module, name: str, split: Split, failing: Tensor, candidates: int) -> Tensor:
    """Weights [D] int64 (row by row) of the Linear layer `name` on the front of gradient loss and forward impact.

    model: in eval mode; failing: items of `split`, [N]; candidates: only so many weights of largest gradient loss are
    considered, none whose gradient is zero. By gradient loss, descending; of equals the first.
    """
    loss = Localiser(model, [name]).gradients(split, failing).loss[name].flatten()
    impact = layer_products(model, [name], split, failing)[name].flatten()
    order = loss.argsort(descending=True, stable=True)[:candidates]
    order = order[loss[order] > 0]
    return order[pareto_front(loss[order], impact[order])] if len(order) else order
