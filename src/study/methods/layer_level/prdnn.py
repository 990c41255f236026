"""PRDNN: the smallest change of one layer that repairs the given inputs, in a channel of values of its own.

Paper: M. Sotoudeh, A. V. Thakur, "Provable Repair of Deep Neural Networks", PLDI 2021, doi 10.1145/3453483.3454064.
Level: layer. Needs: a network that is piecewise linear after the layer, and failing repair inputs.

The faulty network goes on to decide which ReLUs are on; a second channel computes the values. Changed there, one layer
moves the logits of every input by an affine map, so that the smallest repair is a linear program. The price is a second
network from that layer on (models/decoupled.py).

Where we differ from the code: a unit at exactly 0 counts as on everywhere; passing inputs can be protected; the norm is
the maximum, and of those changes the one with the least sum. The repair of lines and planes is left out.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import nn

from study.models.decoupled import DecoupledNetwork
from study.parts.network.frozen_layer import add_changes
from study.parts.network.frozen_start import run_from
from study.parts.pictures.layer_change import draw_changes
from study.parts.solvers.linear_program import Vector
from study.parts.solvers.pointwise import Objective, Pointwise, solver_of
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.settings import settings


@settings
class Prdnn(Approach):
    """Changes one layer of a second channel by a linear program; hyperparameters: see conf/method/prdnn.yaml."""

    level: ClassVar[Level] = "layer"
    source: ClassVar[str] = "Sotoudeh & Thakur: PRDNN, PLDI 2021"

    layer: str = "auto"
    points: Annotated[int, Field(ge=1)] | None = 200
    protect: Annotated[int, Field(ge=0)] | None = 500
    objective: Objective = "linf"
    eps: Annotated[float, Field(gt=0)] = 1e-3
    protect_margin: Annotated[float, Field(gt=0)] | None = None
    bound: Annotated[float, Field(gt=0)] = 3.0
    units: Annotated[int, Field(ge=1)] | None = None
    channel: Literal["decoupled", "single"] = "decoupled"
    time_limit: Annotated[float, Field(gt=0)] | None = None

    def check(self, task: TaskSpec) -> None:
        run_from(task.model, self.layer, task.example(2))

    def repair(self, problem: Problem) -> Repair:
        run = run_from(problem.copy(), self.layer, problem.repair_set.fetch(problem.failing[:2]).inputs)
        points = Pointwise.of(problem, run, points=self.points, protect=self.protect, units=self.units)
        decoupled = self.channel == "decoupled"

        def network(vector: Vector) -> nn.Module:
            changes, model = points.layer.changes(vector), problem.copy()
            if not decoupled:
                return add_changes(model, changes)
            twin = DecoupledNetwork(model, run.layer)
            add_changes(twin.values, {name.removeprefix(f"{run.layer}."): each for name, each in changes.items()})
            return twin

        solver = solver_of(self.objective, self.bound, self.time_limit)
        checked = yield from points.solved(
            solver, network, eps=self.eps, kept=self.protect_margin, signs=False, sound=decoupled
        )
        vector = checked.change.vector
        return Repaired(network(vector), points.costs(checked), lambda: draw_changes(points.layer.changes(vector)))
