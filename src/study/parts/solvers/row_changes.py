"""Changes of a few weights in one row of a Linear layer with which its output is right for more inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from study.parts.localisation.products import mean_products
from study.parts.network.dense_data import DenseData
from study.parts.network.places import Entries
from study.parts.solvers.integer_program import Affine, SoftProgram, Vector


@dataclass(frozen=True)
class RowWish:
    """What is wanted of the change [F] of row `row`: the functions of `soft`, as many as possible, and of `hard`.

    scores: [F], how suspicious each weight of the row is: its mean |input * weight| over the targets.
    """

    row: int
    soft: Affine
    hard: Affine
    scores: Tensor

    def suspicious(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """The `count` columns with the highest scores (ties: the first), or as many at random; in ascending order."""
        if generator is None:
            order = self.scores.argsort(descending=True, stable=True)
        else:
            order = torch.randperm(len(self.scores), generator=generator)
        return order[:count].sort().values

    def among(self, columns: Tensor, *, bound: float, eps: float) -> SoftProgram:
        """The program over the weights in `columns` [m] alone, each of which changes by less than `bound`."""
        chosen = columns.numpy()
        soft, hard = (Affine(functions.rows[:, chosen], functions.offsets) for functions in (self.soft, self.hard))
        return SoftProgram(soft, hard, bound=bound * (1 - 1e-6), eps=eps)


@dataclass(frozen=True)
class RowChange:
    """`values` [m] float64 that are added to the weights in the columns `columns` ([m] int64) of row `row`.

    wanted, before, after: number of soft functions, and of those that hold without and with the change; programs:
    number of integer programs solved.
    """

    row: int
    columns: Tensor
    values: Tensor
    wanted: int
    before: int
    after: int
    programs: int

    @classmethod
    def of(cls, row: int, columns: Tensor, program: SoftProgram, values: Vector) -> RowChange:
        """A candidate of the program over these columns."""
        before, after = (int(program.satisfied(point)) for point in (0 * values, values))
        wanted = len(program.soft.offsets)
        return cls(row, columns, torch.from_numpy(values), wanted, before, after, program.solved)


def answering(label: int, layer: DenseData, targets: Tensor) -> RowWish:
    """For row `label` of the layer that gives the logits: the targets get that class, the other inputs keep theirs.

    One soft function for each target and rival class, one hard function for each other input. Only logit `label`
    depends on the row.

    Args:
        layer: on targets of the class `label` and on inputs that are right.
        targets: [N] bool.
    """
    own = layer.outputs[:, label]
    rivals = layer.outputs.clone()
    rivals[:, label] = -torch.inf
    leads = (own[:, None] - rivals)[targets]  # [T, C], infinite at the label itself
    pairs = leads.isfinite()
    soft = Affine(layer.inputs[targets].repeat_interleave(pairs.sum(1), 0).numpy(), leads[pairs].numpy())
    true = layer.outputs.gather(1, layer.labels[:, None])[:, 0]
    margins = torch.where(layer.labels == label, own - rivals.amax(1), true - own)
    signs = torch.where(layer.labels == label, 1.0, -1.0).double()[:, None]
    hard = Affine((signs * layer.inputs)[~targets].numpy(), margins[~targets].numpy())
    return RowWish(label, soft, hard, mean_products(layer.inputs[targets], layer.weight)[label])


def switching(unit: int, on: bool, layer: DenseData, targets: Tensor) -> RowWish:
    """For row `unit` of a layer before a ReLU: the unit is on (or off) for the targets, and as it is for the others.

    targets: [N] bool.
    """
    output, sign = layer.outputs[:, unit], 1.0 if on else -1.0
    signs = torch.where(targets, sign, torch.where(output > 0, 1.0, -1.0).double())
    rows, offsets = signs[:, None] * layer.inputs, signs * output
    soft, hard = (Affine(rows[chosen].numpy(), offsets[chosen].numpy()) for chosen in (targets, ~targets))
    return RowWish(unit, soft, hard, mean_products(layer.inputs[targets], layer.weight)[unit])


def add_changes(weight: Tensor, changes: Sequence[RowChange], share: float = 1.0) -> None:
    """Add a share of each change to the weight [C, F] of the layer, in place; changes of one entry add up."""
    with torch.no_grad():
        for change in changes:
            weight[change.row, change.columns.to(weight.device)] += (share * change.values).to(weight)


def held(changes: Sequence[RowChange]) -> dict[str, int]:
    """Of all changes together: soft functions, and how many hold without and with the changes."""
    return {
        "wanted": sum(change.wanted for change in changes),
        "held_before": sum(change.before for change in changes),
        "held_after": sum(change.after for change in changes),
    }


def changed_entries(name: str, changes: Sequence[RowChange], width: int) -> Entries:
    """The places of the changes in the weight of the layer `name`, which has `width` columns."""
    index = torch.cat([change.row * width + change.columns for change in changes])
    return Entries((f"{name}.weight",), torch.zeros_like(index), index)
