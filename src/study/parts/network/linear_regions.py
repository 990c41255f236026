"""Linear regions of a dense head with ReLU or LeakyReLU, and linear programs over one of them.

With every hidden unit frozen on or off, such a head is affine. The inputs for which the frozen state is the true one
form its linear region: a convex polytope, cut here with a box.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import highspy
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Vector = NDArray[np.float64]
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU)


class PiecewiseLinear:
    """A chain of dense layers (with BatchNorm1d in eval mode, as it is at inference) and ReLU or LeakyReLU between.

    Holds the modules without registering or copying them. Hidden layer i is the i-th activation of the chain, `slopes`
    its slope below zero; `widths` are the numbers of hidden units, H their sum; `classes` is the width of the output.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.modules = list(modules)
        self.segments: list[list[nn.Module]] = [[]]
        self.slopes: list[float] = []
        self.widths: list[int] = []
        width = 0
        for module in modules:
            if isinstance(module, ACTIVATIONS):
                self.slopes.append(module.negative_slope if isinstance(module, nn.LeakyReLU) else 0.0)
                self.widths.append(width)
                self.segments.append([])
            else:
                self.segments[-1].append(module)
                width = module.out_features if isinstance(module, nn.Linear) else width
        self.classes = width

    @property
    def has_hidden_relu(self) -> bool:
        """Whether a ReLU or LeakyReLU lies between two Linear layers."""
        dense = [any(isinstance(module, nn.Linear) for module in segment) for segment in self.segments]
        return any(any(dense[:i]) and any(dense[i:]) for i in range(1, len(dense)))

    def double(self) -> PiecewiseLinear:
        """A copy in float64 on the CPU, without gradients."""
        return PiecewiseLinear([copy.deepcopy(module).double().cpu().requires_grad_(False) for module in self.modules])

    def affine(self, layer: int, values: Tensor) -> Tensor:
        """The affine map from activation `layer` - 1 (0: from the input) to the next pre-activations or the logits."""
        for module in self.segments[layer]:
            if isinstance(module, nn.Linear):
                values = functional.linear(values, module.weight, module.bias)
            elif isinstance(module, nn.BatchNorm1d):
                mean, variance = module.running_mean, module.running_var
                values = functional.batch_norm(values, mean, variance, module.weight, module.bias, eps=module.eps)
        return values

    def frozen(self, layer: int, values: Tensor, on: Tensor) -> Tensor:
        """Activation `layer` with each unit at slope 1 where `on` (bool, broadcast), else at its slope below zero."""
        return torch.where(on, values, self.slopes[layer] * values)

    def run(self, features: Tensor, pattern: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pre-activations [N, H] and logits [N, C] of `features` [N, d]; `pattern` ([H] bool) freezes the units."""
        states = None if pattern is None else pattern.split(self.widths)
        values, seen = self.affine(0, features), []
        for layer in range(len(self.slopes)):
            seen.append(values)
            on = values >= 0 if states is None else states[layer]
            values = self.affine(layer + 1, self.frozen(layer, values, on))
        return torch.cat(seen, dim=1), values


@dataclass(frozen=True)
class Region:
    """A linear region in d dimensions: slack = rows @ x + offsets >= 0 (H of them) on lower <= x <= upper.

    On it the logits are logit_rows @ x + logit_offsets.
    """

    rows: Vector
    offsets: Vector
    logit_rows: Vector
    logit_offsets: Vector
    lower: Vector
    upper: Vector

    @classmethod
    def of(cls, head: PiecewiseLinear, pattern: Tensor, lower: Tensor, upper: Tensor) -> Region:
        """The region of an on/off pattern ([H] bool) of a head in float64, within a box ([d] each).

        A frozen head is affine, so its values at the origin and at the unit vectors determine it.
        """
        origin = torch.zeros(1, len(lower), dtype=torch.float64)
        probes = torch.cat([origin, torch.eye(len(lower), dtype=torch.float64)])
        units, logits = head.run(probes, pattern)
        slacks = torch.where(pattern, units, -units)
        rows, logit_rows = (slacks[1:] - slacks[0]).T, (logits[1:] - logits[0]).T
        parts = (rows, slacks[0], logit_rows, logits[0], lower, upper)
        return cls(*(np.ascontiguousarray(part.numpy()) for part in parts))

    def margin(self, over: int, label: int) -> tuple[Vector, float]:
        """The affine function (row, offset) by which the logit of class `over` exceeds that of `label` here."""
        row = self.logit_rows[over] - self.logit_rows[label]
        return row, float(self.logit_offsets[over] - self.logit_offsets[label])

    def box_bound(self, row: Vector) -> float:
        """Maximum of row @ x over the box alone: an upper bound of that over the region."""
        return float(np.maximum(row * self.lower, row * self.upper).sum())


class _SilentSolver(highspy.Highs):
    """HiGHS without its banner, which it prints while it registers callbacks."""

    def enableCallbacks(self) -> None:  # noqa: N802 (the library's name)
        self.silent()
        super().enableCallbacks()


class Maximiser:
    """Maximises linear functions over one region; each program starts from the solution of the one before."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.solved = 0

    @cached_property
    def _solver(self) -> highspy.Highs:
        count, dimensions = self.region.rows.shape
        program = highspy.HighsLp()
        program.num_row_, program.num_col_ = count, dimensions
        program.sense_ = highspy.ObjSense.kMaximize
        program.col_cost_ = np.zeros(dimensions)
        program.col_lower_, program.col_upper_ = self.region.lower, self.region.upper
        program.row_lower_, program.row_upper_ = -self.region.offsets, np.full(count, highspy.kHighsInf)
        matrix = program.a_matrix_
        matrix.format_ = highspy.MatrixFormat.kRowwise
        matrix.start_ = np.arange(count + 1, dtype=np.int32) * dimensions
        matrix.index_ = np.tile(np.arange(dimensions, dtype=np.int32), count)
        matrix.value_ = self.region.rows.ravel()
        solver = _SilentSolver()
        solver.setOptionValue("threads", 1)
        solver.setOptionValue("solver", "simplex")
        solver.passModel(program)
        return solver

    def maximum(self, row: Vector) -> float:
        """Maximum of row @ x over the region; the bound of the box where the solver reaches no optimum."""
        solver = self._solver
        solver.changeColsCost(len(row), np.arange(len(row), dtype=np.int32), row)
        solver.run()
        self.solved += 1
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return self.region.box_bound(row)
        return float(solver.getInfo().objective_function_value)
