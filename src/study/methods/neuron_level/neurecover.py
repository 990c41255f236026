"""NeuRecover: searches new values for the weights that training has lately made worse.

S. Tokui et al., "NeuRecover: Regression-Controlled Repair of Deep Neural Networks with Training History", SANER 2022
(arXiv 2203.00191), read off jst-qaml/eAI-Repair-Toolkit (MIT). Level: neuron. Needs: a Linear layer, the model one
epoch earlier, logits as output, failing and passing repair inputs.

Other than the toolkit: the backward ranking is of the cross-entropy, not of the summed outputs, which a softmax holds
constant; the fitness divides by the number of inputs, not by 2; layers are found by name, BatchNorm or not.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from study.errors import NotApplicable, RepairFailed
from study.parts.localisation.chance import random_entries
from study.parts.localisation.history import Change, Impact, Suspicion, turned
from study.parts.localisation.weights import Localiser
from study.parts.network.layers import eligible_layers
from study.parts.network.places import Entries, write
from study.parts.pictures.search import draw_search
from study.parts.search.fitness import TwoLosses
from study.parts.search.guard import Guard
from study.parts.search.patches import patches
from study.parts.search.repair_swarm import RepairSwarm, Speed
from study.parts.selection.repair_inputs import random_passing
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.settings import settings


@settings
class NeuRecover(Approach):
    """Searches by swarm the weights that training history suspects; hyperparameters: conf/method/neurecover.yaml."""

    level: ClassVar[Level] = "neuron"
    source: ClassVar[str] = "Tokui et al.: NeuRecover, SANER 2022, arXiv 2203.00191"

    particles: Annotated[int, Field(ge=1)] = 100
    iterations: Annotated[int, Field(ge=0)] = 100
    patience: Annotated[int, Field(ge=1)] = 10
    phi: Annotated[float, Field(gt=4)] = 4.1
    speed: Speed = (0.2, 5.0)
    n_pos: Annotated[int, Field(ge=1)] | None = 200
    alpha: Annotated[float, Field(gt=0)] = 1.0
    reduction_rate: Annotated[float, Field(ge=0)] = 2.0
    history: Literal["checkpoints", "none"] = "checkpoints"
    accept: Literal["if_better", "always"] = "if_better"
    guard: bool = False
    localisation: Literal["history", "random"] = "history"
    search: Literal["swarm", "random"] = "swarm"

    def check(self, task: TaskSpec) -> None:
        if not linear_layers(task.model, task.example(2)):
            raise NotApplicable(f"needs a Linear layer that runs once per input: {task.name} has none")
        if self.history == "checkpoints" and not task.has_history:
            raise NotApplicable(f"needs the model one epoch earlier: {task.name} comes without training history")

    def repair(self, problem: Problem) -> Repair:
        """Localise the suspects, search their values, write the best into a copy of the faulty model."""
        if not len(problem.passing):
            raise RepairFailed("the model is right on no repair input", evaluations=0)
        generator = problem.stream("search")
        places = self._localised(problem, generator)
        yield {"search/places": len(places)}
        if not self.iterations:
            raise RepairFailed("no search: iterations=0", evaluations=0)

        # Steps 5 and 7: the fitness, over all failing and some passing inputs.
        indices = torch.cat([problem.failing, random_passing(problem, self.n_pos, generator)])
        evaluation = patches(problem.faulty, places, problem.repair_set, indices)
        fitness = TwoLosses(evaluation, torch.isin(indices, problem.failing), self.alpha, shares=True)
        original = float(fitness(places.values(problem.faulty)[None])[0])

        # Step 6: the search, and which of its patches is used.
        guard = Guard(problem, places, original if self.accept == "if_better" else -torch.inf)
        swarm = RepairSwarm(self.particles, self.iterations, self.patience, self.phi, self.speed, self.search)
        for population in swarm.over_weights(problem.faulty, places, fitness, generator):
            guard.watch(population)
            yield fitness.summary(population)
        costs = {"evaluations": self.particles * len(guard.history), "places": len(places)}
        unbeaten = "no particle beats the original's fitness"
        values = guard.settled(guarded=self.guard, unbeaten=unbeaten, **costs)
        repaired = problem.copy()
        write(repaired, places, values)
        return Repaired(repaired, costs, lambda: draw_search(repaired, places, guard.history, original))

    def _localised(self, problem: Problem, generator: torch.Generator) -> Entries:
        """Steps 1 to 4: what the last epoch turned, three rankings per layer, set operations on their heads."""
        model = problem.faulty
        names = linear_layers(model, problem.repair_set.fetch(problem.failing[:2]).inputs)
        if self.history == "none":
            degraded, improved, change = problem.failing, problem.passing, Change.unknown(model, names)
        elif problem.history is None:
            raise NotApplicable("needs the model one epoch earlier: the faulty model is that of its first epoch")
        else:
            degraded, improved = turned(problem, problem.history)
            change = Change.between(model, problem.history, names)
        if not len(degraded):
            raise RepairFailed("the last epoch of training turned no repair input from right to wrong", evaluations=0)
        localiser = Localiser(model, names)
        harm, good = (Impact.on(localiser, problem.repair_set, indices) for indices in (degraded, improved))
        suspects = Suspicion(harm, good, change).suspects(self.reduction_rate)
        if not len(suspects):
            raise RepairFailed("no weight is suspect: the rankings do not meet", evaluations=0)
        if self.localisation == "random":
            return random_entries(model, names, len(suspects), generator)
        return Entries.pooled(model, names, suspects)


def linear_layers(model: nn.Module, example: Tensor) -> list[str]:
    """Names of the Linear layers that can be searched, in the order that they run on `example` [B, ...]."""
    return [name for name in eligible_layers(model, example) if isinstance(model.get_submodule(name), nn.Linear)]
