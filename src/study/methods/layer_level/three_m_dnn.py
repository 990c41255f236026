"""3M-DNN: the smallest change of one or of several layers with which given failing inputs are right, by programs.

I. Refaeli, G. Katz, "Minimal Multi-Layer Modifications of Deep Neural Networks", FoMLAS/NSV 2022, arXiv 2110.09929; its
step for one layer: B. Goldberger et al., "Minimal Modifications of Deep Neural Networks using Verification", LPAR-23,
2020. Level: layer. Needs: a Linear layer that gives the logits; for more layers, hidden Linear
layers with a ReLU.

The network is cut behind the ReLUs of its last dense layers. Which values the inputs take there is searched; given
these, the least change of each layer is a program of its own.

Where we differ: of each part its last affine layer changes, so that a program is linear where the authors query a
verifier (only their abstract and summary were readable); of changes with the least maximum norm the one with the least
sum is taken; inputs that cannot all be right are thinned out; passing inputs can be protected.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from study.data.split import Split
from study.errors import RepairFailed, UsageError
from study.parts.network.dense_chain import DenseChain
from study.parts.network.layers import output_layer
from study.parts.network.rectified_chain import chain_of, rectified_chain
from study.parts.pictures.layer_change import draw_changes
from study.parts.pictures.sizes import draw_sizes
from study.parts.search.separation_moves import Heuristic, searched
from study.parts.selection.given_inputs import GivenInputs
from study.parts.solvers.checked_change import checked_change
from study.parts.solvers.class_margins import ClassMargins
from study.parts.solvers.demands import Norm, Solving
from study.parts.solvers.least_change import least_change
from study.parts.solvers.linear_program import NoOptimum, Vector
from study.parts.solvers.margin_step import step_along_hinge
from study.parts.solvers.sub_networks import SubNetworks, total
from study.problem.prediction import right
from study.problem.problem import Problem
from study.problem.recipe import Auto
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Log, Repair, Repaired
from study.runtime.settings import settings

Count = Annotated[int, Field(ge=0)]


@settings
class ThreeMDNN(Approach):
    """Solves for the least change of the last layers; hyperparameters: see conf/method/three_m_dnn.yaml."""

    level: ClassVar[Level] = "layer"
    source: ClassVar[str] = "Refaeli & Katz: Minimal Multi-Layer Modifications, FoMLAS 2022, arXiv 2110.09929"

    points: Annotated[int, Field(ge=1)] | None = 10
    protect: Count | None = 0
    norm: Norm = "linf"
    eps: Annotated[float, Field(gt=0)] = 1e-3
    protect_margin: Annotated[float, Field(gt=0)] | None = None
    separations: Count | Auto = "auto"
    heuristic: Heuristic = "greedy"
    max_evaluations: Count = 500
    timeout: Annotated[float, Field(gt=0)] | None = None
    change: Literal["minimal", "gradient"] = "minimal"

    def __post_init__(self) -> None:
        if self.separations not in ("auto", 0) and (self.protect != 0 or self.change != "minimal"):
            raise UsageError(
                f"method.separations={self.separations} needs method.protect=0 and method.change=minimal: passing "
                "inputs are protected, and a gradient is followed, in the last layer alone"
            )

    def check(self, task: TaskSpec) -> None:
        self._layers(task.model, task.example(2))

    def repair(self, problem: Problem) -> Repair:
        """Change the layers before the last where that makes the whole change smaller, then the last until it holds."""
        model = problem.copy()
        chain = DenseChain.of(model, self._layers(model, problem.repair_set.fetch(problem.failing[:2]).inputs))
        given = GivenInputs.of(problem, self.points, self.protect)
        split, wanted, sizes = given.split, given.wanted.numpy(), list[float]()
        costs = dict[str, float](targets=int(wanted.sum()), protected=int((~wanted).sum()), programs=0)

        def correct(vector: Vector) -> NDArray[np.bool_]:
            chain.write(-1, vector)
            return right(model, split).cpu().numpy()

        try:
            if len(chain.layers) > 1:
                sizes = yield from self._move(problem, chain, split, costs)
            checked = yield from checked_change(
                lambda eps: self._last_change(chain, split, wanted, eps), correct, wanted, self.eps
            )
        except NoOptimum as failure:
            raise RepairFailed(f"{failure}, for the change of the last layer", **costs) from failure
        change, wrong = checked.change, np.flatnonzero(~checked.right)
        missed = np.setdiff1d(wrong[wanted[wrong]], change.left_out)
        costs |= {"programs": costs["programs"] + change.programs, "rows": change.rows}
        costs |= {"infeasible_inputs": len(change.left_out), "protected_lost": int((~wanted[wrong]).sum())}
        if len(missed) or len(change.left_out) == wanted.sum():
            raise RepairFailed("targeted inputs are still wrong", **costs, missed_inputs=len(missed))
        changes = chain.changes()  # by parameter
        costs["size"] = total(torch.cat([change.flatten() for change in changes.values()]).numpy(), self.norm)
        return Repaired(model, costs, lambda: {**draw_changes(changes), **draw_sizes(sizes)})

    def _move(
        self, problem: Problem, chain: DenseChain, split: Split, costs: dict[str, float]
    ) -> Generator[Log, None, list[float]]:
        """Search for values at the cuts; change the layers before them. The size of the change over the search."""
        single = yield from self._last_change(chain, split, np.ones(len(split), dtype=bool), self.eps)
        rest = split.subset(torch.from_numpy(np.setdiff1d(np.arange(len(split)), single.left_out)).to(split.device))
        costs["infeasible_inputs"] = len(single.left_out)
        if not len(rest):
            raise NoOptimum("infeasible")
        labels = rest.labels.cpu().numpy()
        networks = SubNetworks(chain.layers, chain.values(0, rest), labels, self.norm, self.eps)
        generator = np.random.default_rng(problem.seed_of("search"))
        search = (self.heuristic, single.size, self.max_evaluations, generator, self.timeout)
        found = yield from searched(networks, *search)
        for depth in range(len(chain.layers) - 1):
            chain.write(depth, networks.reaching(found.moves, depth, chain.values(depth, rest)))
        costs |= {"size_of_one_layer": single.size, "evaluations": found.evaluations}
        costs["programs"] += single.programs + networks.programs
        return found.sizes

    def _layers(self, model: nn.Module, example: Tensor) -> list[str]:
        """Names of the layers that change, the output layer last; raises NotApplicable where there are fewer."""
        if self.separations == 0 or self.protect != 0 or self.change != "minimal":
            return [output_layer(model, example)]
        if self.separations == "auto":
            return rectified_chain(model, example)[-2:]
        return chain_of(model, example, self.separations + 1)

    def _last_change(self, chain: DenseChain, split: Split, wanted: NDArray[np.bool_], eps: float) -> Solving:
        """Step 2: the change of the last layer with which the wanted inputs are right by eps, the others stay so."""
        layer = chain.layers[-1]
        features = layer.entering(chain.values(-1, split))
        logits = features @ layer.weight.T
        if not np.isfinite(logits).all():
            raise RepairFailed("the outputs of the network are not finite")
        margins = ClassMargins.of(features, logits, split.labels.cpu().numpy(), wanted, eps, self.protect_margin)
        if self.change == "gradient":
            return step_along_hinge(margins, self.norm)
        return (yield from least_change(margins, self.norm, seconds=self.timeout))
