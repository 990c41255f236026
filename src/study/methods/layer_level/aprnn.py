"""APRNN: the smallest change of one layer that repairs the given inputs and switches no unit after the layer.

Paper: Z. Tao, S. Nawas, J. Mitchell, A. V. Thakur, "Architecture-Preserving Provable Repair of Deep Neural Networks",
PLDI 2023, doi 10.1145/3591238. Level: layer. Needs: a network that is piecewise linear after the layer, and failing
repair inputs.

While no later ReLU switches, the logits of an input are affine in the weights of the layer and in later biases: what is
demanded of the logits and of the units is one linear program.

Where we differ from the code: passing inputs can be protected; the norm is that of the parameters alone, unless
`objective` says otherwise; rows are added as they are needed, to the same optimum. The repair of polytopes is left out.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import nn

from study.parts.network.frozen_layer import add_changes
from study.parts.network.frozen_start import run_from
from study.parts.pictures.layer_change import draw_changes
from study.parts.solvers.linear_program import Vector
from study.parts.solvers.pointwise import Objective, Pointwise, solver_of
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.settings import settings

MOST_SIGNS = 50_000
"""Units and pooled elements after the layer, per input."""


@settings
class Aprnn(Approach):
    """Changes one layer and the later biases by a linear program; hyperparameters: see conf/method/aprnn.yaml."""

    level: ClassVar[Level] = "layer"
    source: ClassVar[str] = "Tao et al.: APRNN, PLDI 2023"

    layer: str = "auto"
    points: Annotated[int, Field(ge=1)] | None = 200
    protect: Annotated[int, Field(ge=0)] | None = 50
    objective: Objective = "linf"
    eps: Annotated[float, Field(gt=0)] = 1e-3
    protect_margin: Annotated[float, Field(gt=0)] | None = None
    bound: Annotated[float, Field(gt=0)] = 3.0
    units: Annotated[int, Field(ge=1)] | None = None
    later_biases: bool = True
    signs: Literal["frozen", "ignored"] = "frozen"
    time_limit: Annotated[float, Field(gt=0)] | None = None

    def check(self, task: TaskSpec) -> None:
        run_from(task.model, self.layer, task.example(2), signs=MOST_SIGNS)

    def repair(self, problem: Problem) -> Repair:
        example = problem.repair_set.fetch(problem.failing[:2]).inputs
        run = run_from(problem.copy(), self.layer, example, signs=MOST_SIGNS)
        later = run.later if self.later_biases else ()
        points = Pointwise.of(problem, run, points=self.points, protect=self.protect, units=self.units, later=later)

        def network(vector: Vector) -> nn.Module:
            return add_changes(problem.copy(), points.layer.changes(vector))

        frozen = self.signs == "frozen"
        solver = solver_of(self.objective, self.bound, self.time_limit, outputs=True)
        checked = yield from points.solved(
            solver, network, eps=self.eps, kept=self.protect_margin, signs=frozen, sound=frozen
        )
        changes = points.layer.changes(checked.change.vector)
        return Repaired(network(checked.change.vector), points.costs(checked), lambda: draw_changes(changes))
