"""Entries of a patch: the few numbers of a network that are given new values.

Each kind writes its values into a model, and gives the whole parameters under many patches at once, as
`torch.func.functional_call` takes them under `vmap`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn


class Places(Protocol):
    """D numbers that determine some parameters of a network.

    names: the parameters, as in `named_parameters`, in the order that their layers run.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def values(self, model: nn.Module) -> Tensor:
        """The numbers under which `model` stays as it is, [D]."""
        ...

    def stacked(self, model: nn.Module, values: Tensor) -> dict[str, Tensor]:
        """Each parameter of `names` under every patch: name to [P, *parameter.shape], for `values` [P, D]."""
        ...


def write(model: nn.Module, places: Places, values: Tensor) -> None:
    """Apply one patch, `values` [D], to `model` in place."""
    with torch.no_grad():
        for name, tensor in places.stacked(model, values[None]).items():
            model.get_parameter(name).copy_(tensor[0])


@dataclass(frozen=True)
class Entries:
    """D single entries of weights and biases.

    names: see `Places`; owner: [D] int64, indices into `names`; index: [D] int64, place in that parameter, row by row.
    """

    names: tuple[str, ...]
    owner: Tensor
    index: Tensor

    @classmethod
    def pooled(
        cls, model: nn.Module, layers: Sequence[str], positions: Tensor, kind: Literal["weight", "bias"] = "weight"
    ) -> Entries:
        """The entries at `positions` [D] of the weights (or biases) of all `layers` put one after the other."""
        names = [f"{layer}.{kind}" for layer in layers]
        sizes = torch.tensor([model.get_parameter(name).numel() for name in names], device=positions.device)
        ends = sizes.cumsum(0)
        owner = torch.bucketize(positions, ends, right=True)
        used, owner_among_used = owner.unique(return_inverse=True)
        starts = (ends - sizes)[owner]
        return cls(tuple(names[number] for number in used.tolist()), owner_among_used, positions - starts)

    def __len__(self) -> int:
        return len(self.index)

    def values(self, model: nn.Module) -> Tensor:
        """Present values of these entries, [D]."""
        result = torch.empty(len(self), device=self.index.device, dtype=model.get_parameter(self.names[0]).dtype)
        for name, mine in self.by_parameter():
            result[mine] = model.get_parameter(name).detach().reshape(-1)[self.index[mine]]
        return result

    def stacked(self, model: nn.Module, values: Tensor) -> dict[str, Tensor]:
        """See `Places`; `values` [P, D] replace the entries."""
        stacks = {}
        for name, mine in self.by_parameter():
            parameter = model.get_parameter(name).detach()
            flat = parameter.reshape(1, -1).repeat(len(values), 1)
            flat[:, self.index[mine]] = values[:, mine]
            stacks[name] = flat.reshape(len(values), *parameter.shape)
        return stacks

    def by_parameter(self) -> list[tuple[str, Tensor]]:
        """Each parameter's name and which of the D entries ([M] int64) lie in it."""
        return [(name, (self.owner == number).nonzero().flatten()) for number, name in enumerate(self.names)]


@dataclass(frozen=True)
class Columns:
    """D columns of the weight of a Linear layer: what D neurons send on, each multiplied by its value.

    layer: its name; index: [D] int64, inputs of the layer.
    """

    layer: str
    index: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        """See `Places`."""
        return (f"{self.layer}.weight",)

    def __len__(self) -> int:
        return len(self.index)

    def values(self, model: nn.Module) -> Tensor:
        """Factors that change nothing, [D]."""
        return torch.ones(len(self), device=self.index.device, dtype=model.get_parameter(self.names[0]).dtype)

    def stacked(self, model: nn.Module, values: Tensor) -> dict[str, Tensor]:
        """See `Places`; `values` [P, D] are factors."""
        weight = model.get_parameter(self.names[0]).detach()
        stack = weight.repeat(len(values), 1, 1)
        stack[:, :, self.index] = weight[:, self.index] * values[:, None, :]
        return {self.names[0]: stack}

    def entries(self, model: nn.Module) -> Entries:
        """The single weights of the columns, row by row."""
        rows, width = model.get_parameter(self.names[0]).shape
        index = (width * torch.arange(rows, device=self.index.device)[:, None] + self.index).flatten()
        return Entries(self.names, torch.zeros_like(index), index)


@dataclass(frozen=True)
class Layers:
    """Whole layers: all entries of the named parameters, one after the other, row by row."""

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @classmethod
    def of(cls, model: nn.Module, names: Sequence[str]) -> Layers:
        """The parameters `names` of `model`."""
        return cls(tuple(names), tuple(model.get_parameter(name).shape for name in names))

    def __len__(self) -> int:
        return sum(shape.numel() for shape in self.shapes)

    def values(self, model: nn.Module) -> Tensor:
        """Present values, [D]."""
        return torch.cat([model.get_parameter(name).detach().reshape(-1) for name in self.names])

    def stacked(self, model: nn.Module, values: Tensor) -> dict[str, Tensor]:
        """See `Places`."""
        parts = values.split([shape.numel() for shape in self.shapes], dim=1)
        pairs = zip(self.names, self.shapes, parts, strict=True)
        return {name: part.reshape(len(values), *shape) for name, shape, part in pairs}

    def entries(self, chosen: Tensor) -> Entries:
        """The entries at which `chosen` ([D] bool) is true."""
        index = torch.cat([torch.arange(shape.numel(), device=chosen.device) for shape in self.shapes])
        sizes = torch.tensor([shape.numel() for shape in self.shapes], device=chosen.device)
        owner = torch.arange(len(self.shapes), device=chosen.device).repeat_interleave(sizes)
        return Entries(self.names, owner[chosen], index[chosen])


def layer_of(parameter: str) -> str:
    """Name of the layer that a parameter belongs to."""
    return parameter.rpartition(".")[0]
