"""The end of a network on what enters it, computed once: patches of late layers never run the early ones again."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.func import functional_call, vmap

from study.data.split import Split
from study.parts.network.activations import activations
from study.parts.network.layers import calls_of
from study.parts.network.structure import Structure

ALL = slice(None)


class Tail:
    """The end of a network from the layer `name` on (or from an earlier one, where a connection passes that by).

    features: [N, ...], what enters it for the items of `split` at `indices`; elements: size of the largest output of
    one of its modules per item. Raises NotApplicable where the network cannot be traced.
    """

    def __init__(self, model: nn.Module, name: str, split: Split, indices: Tensor) -> None:
        prefix, self.module = Structure(model).cut_up_to(name)
        self.features = activations(prefix, split, indices)
        self.elements = largest_output(self.module, self.features[:1])

    def logits(self, parameters: Mapping[str, Tensor], rows: slice = ALL) -> Tensor:
        """Logits [P, n, C] on the items in `rows` under P sets of parameters (name to [P, *shape])."""
        features = self.features[rows]
        result: Tensor = vmap(lambda chosen: functional_call(self.module, chosen, (features,)))(dict(parameters))
        return result


def largest_output(module: nn.Module, example: Tensor) -> int:
    """Size of the largest tensor that `module` holds when it runs on `example` ([1, ...]): an input or an output."""
    calls = calls_of(module, example, lambda part: not list(part.children()))
    return max([example.numel(), *(call.shape.numel() for call in calls)])
