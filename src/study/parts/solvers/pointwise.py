"""Pointwise repair: the smallest change of one layer with which every given input is right, checked in the network."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from study.errors import RepairFailed
from study.models.frozen_run import FrozenRun
from study.parts.network.frozen_layer import FrozenLayer
from study.parts.selection.given_inputs import GivenInputs
from study.parts.solvers.checked_change import TRIES, Checked, checked_change
from study.parts.solvers.demands import Solving
from study.parts.solvers.frozen_effects import effects_of
from study.parts.solvers.frozen_margins import FrozenMargins
from study.parts.solvers.least_change import least_change
from study.parts.solvers.linear_program import NoOptimum, Vector
from study.parts.solvers.reference_change import penalised_change
from study.problem.prediction import right
from study.problem.problem import Problem

Objective = Literal["linf", "reference"]
Solver = Callable[[FrozenMargins], Solving]
"""Finds the smallest change, in some sense, that meets the demands."""


@dataclass(frozen=True)
class Pointwise:
    """A layer on the inputs of the repair set that are to be right; labels: [m], on the CPU."""

    given: GivenInputs
    layer: FrozenLayer
    labels: Tensor

    @classmethod
    def of(
        cls,
        problem: Problem,
        run: FrozenRun,
        *,
        points: int | None,
        protect: int | None,
        units: int | None = None,
        later: Sequence[str] = (),
    ) -> Pointwise:
        """The layer of `run` on failing and passing inputs (see `GivenInputs`); the biases of `later` may change too.

        units: rows of the layer that may change, those by which the targets' margins change most; None: all.
        """
        given = GivenInputs.of(problem, points, protect)
        layer, labels = FrozenLayer.of(run, problem.repair_set, given.indices, later), given.split.labels.cpu()
        logits, _ = layer.at(np.zeros(layer.width))
        if not np.isfinite(logits).all():
            raise RepairFailed("the outputs of the network are not finite")
        if units is not None and units < len(layer.units):
            aimed = given.wanted.nonzero()[:, 0]
            rivals = torch.from_numpy(logits)[aimed].scatter(1, labels[aimed, None], -torch.inf).argmax(1)
            useful = layer.usefulness(aimed, labels[aimed], rivals)
            layer = layer.only(useful.argsort(descending=True, stable=True)[:units])
        return cls(given, layer, labels)

    def demands(self, eps: float, kept: float | None = None, *, signs: bool) -> FrozenMargins:
        """What is demanded of a change; `signs`: also that no unit after the layer switches."""
        return FrozenMargins.of(self.layer, self.labels, self.given.wanted, eps, kept, signs=signs)

    def solved(
        self,
        solver: Solver,
        network: Callable[[Vector], nn.Module],
        *,
        eps: float,
        kept: float | None,
        signs: bool,
        sound: bool,
    ) -> Generator[Mapping[str, float], None, Checked]:
        """The smallest change, as `solver` has it, checked in the network that `network` makes of it.

        sound: whether it must be right; then the margin grows where it is not. Raises RepairFailed where there is none.
        """
        wanted = self.given.wanted.numpy()
        try:
            checked = yield from checked_change(
                lambda margin: solver(self.demands(margin, kept, signs=signs)),
                lambda vector: right(network(vector), self.given.split).cpu().numpy(),
                wanted,
                eps,
                TRIES if sound else 0,
            )
        except NoOptimum as failure:
            raise RepairFailed(str(failure)) from failure
        costs = self.costs(checked)
        if costs["infeasible_inputs"] == wanted.sum():
            raise RepairFailed("no failing input can be made right", **costs)
        if sound and costs["missed_inputs"]:
            raise RepairFailed(
                f"{costs['missed_inputs']:.0f} inputs are still wrong in the network's precision", **costs
            )
        return checked

    def costs(self, checked: Checked) -> dict[str, float]:
        """What a repair reports of its change."""
        change, wanted = checked.change, self.given.wanted.numpy()
        missed = wanted & ~checked.right
        missed[change.left_out] = False
        return {
            "programs": change.programs,
            "rows": change.rows,
            "size": change.size,
            "eps": checked.eps,
            "targets": int(wanted.sum()),
            "infeasible_inputs": len(change.left_out),
            "missed_inputs": int(missed.sum()),
            "protected_lost": int((~wanted & ~checked.right).sum()),
        }


def solver_of(objective: Objective, bound: float, seconds: float | None, *, outputs: bool = False) -> Solver:
    """The change of least maximum norm, or of least `penalised_change`, each number within the bound.

    outputs: whether the latter counts what the change does to the logits of the given inputs too.
    """

    def reference(demands: FrozenMargins) -> Solving:
        effects = effects_of(demands.layer) if outputs else None
        return penalised_change(demands, effects, limit=bound, seconds=seconds)

    if objective == "reference":
        return reference
    return lambda demands: least_change(demands, "linf", limit=bound, seconds=seconds)
