"""I-REPAIR: fine-tuning of those weights alone that influence the errors more than normal behaviour.

P. Henriksen, F. Leofante, A. Lomuscio, "Repairing Misclassifications in Neural Networks Using Limited Data", ACM SAC
2022, as its authors' code runs it (vas-group-imperial/I-Repair). Level: neuron. Needs: a Linear, Conv2d or BatchNorm2d
layer, logits as output, failing and passing repair inputs.

Where we differ from the code: Dropout stays off in the joint pass, so that the run is deterministic; parameters of
other kinds of layers stay as they are (the code steps them without a mask); nothing is evaluated on test inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from study.errors import NotApplicable, RepairFailed
from study.parts.localisation.influence import (
    InfluenceEstimator,
    Influences,
    free_edges,
    free_nodes,
    influenced_parameters,
)
from study.parts.network.places import Layers, write
from study.parts.pictures.fitness import draw_fitness
from study.parts.pictures.localised import draw_localised
from study.parts.search.guard import keeps_accuracy
from study.parts.selection.few_per_class import few_per_class
from study.parts.training.masked import MaskedRMSprop
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.settings import settings

STATES = 10
"""States on the way to which the guard can fall back."""


@settings
class IRepair(Approach):
    """Moves the weights that drive the remaining errors, on the loss of failing and of a few passing inputs together.

    gamma: weight of the general influence, a larger one sets fewer weights free; lr: rate of RMSprop; max_iters: steps
    at most; max_fail: failing inputs at most; per_class: passing inputs of each class; influence: what is free, single
    weights (`edge`) or all that leaves an input node of a Linear layer (`node`); mask: free by `influence`, as many at
    `random`, or all (`none`: plain fine-tuning); margin: an input counts as repaired when its label's probability leads
    by so much; normalise_general: divide the general influence by the number of classes; keep_best: return the weights
    that are right on most of both sets instead of the last; micro_batch: inputs per pass; guard: hand over only a
    repair that does not lower validation accuracy: where the result does, the latest of ten states on the way that
    does not.
    """

    level: ClassVar[Level] = "neuron"
    source: ClassVar[str] = "Henriksen, Leofante, Lomuscio: I-REPAIR, SAC 2022"

    gamma: Annotated[float, Field(ge=0)] = 1.0
    lr: Annotated[float, Field(gt=0)] = 1e-5
    max_iters: Annotated[int, Field(ge=0)] = 150
    max_fail: Annotated[int, Field(ge=1)] = 2000
    per_class: Annotated[int, Field(ge=1)] = 100
    influence: Literal["edge", "node"] = "edge"
    mask: Literal["influence", "random", "none"] = "influence"
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0
    normalise_general: bool = False
    keep_best: bool = False
    micro_batch: Annotated[int, Field(ge=1)] = 1000
    guard: bool = False

    def check(self, task: TaskSpec) -> None:
        names = influenced_parameters(task.model)
        if not names:
            raise NotApplicable(f"needs a Linear, Conv2d or BatchNorm2d layer with parameters: {task.name} has none")
        if self.influence == "node" and not any(isinstance(module, nn.Linear) for module in task.model.modules()):
            raise NotApplicable(f"influence=node needs a Linear layer: {task.name} has none")

    def repair(self, problem: Problem) -> Repair:
        """Step by step: influences, the mask they give, one RMSprop step on the joint loss."""
        if not len(problem.passing):
            raise RepairFailed("the general set is empty: the model is right on no repair input", evaluations=0)
        # Step 0: the specific set, the general set, and the parameters as one vector.
        generator = problem.stream("search")
        chosen = few_per_class(problem.repair_set.labels[problem.passing], self.per_class, generator)
        general, specific = problem.passing[chosen.to(problem.device)], problem.failing[: self.max_fail]
        model = problem.copy()
        places = Layers.of(model, influenced_parameters(model))
        estimate = InfluenceEstimator(
            model, places.names, problem.repair_set, general, specific, micro_batch=self.micro_batch, margin=self.margin
        )
        values = places.values(model)
        optimizer, free = MaskedRMSprop(values, self.lr), torch.zeros_like(values, dtype=torch.bool)
        solved, states, best = list[int](), list[Tensor](), (-1, values)
        for iteration in range(self.max_iters + 1):
            found = estimate()  # steps 1, 2 and 4
            remaining, right, finite = found.counts()
            if not finite:
                raise RepairFailed("the loss is not finite", evaluations=iteration)
            solved.append(len(specific) - remaining)
            best = max(best, (right + solved[-1], values), key=lambda state: state[0])  # of equals the first
            if iteration and iteration % max(1, self.max_iters // STATES) == 0:
                states.append(values)
            yield {
                "search/remaining": remaining,
                "search/general_right": right / len(general),
                "search/loss": found.loss,
                "search/free": free.double().mean(),
            }
            if not remaining or iteration == self.max_iters:
                break
            free = self._free(model, places, found, problem.task.num_classes, generator)  # step 3
            values = optimizer.stepped(values, found.joint, free)  # step 5
            write(model, places, values)
        costs = {"evaluations": len(solved), "forward_inputs": len(solved) * estimate.inputs}
        if not self._accepted(problem, model, places, [best[1] if self.keep_best else values, *reversed(states)]):
            raise RepairFailed("no state on the way keeps the faulty model's validation accuracy", **costs)
        return Repaired(
            model,
            {**costs, "remaining": estimate.still_wrong()},
            lambda: {
                "localised_weights": draw_localised(model, places.entries(free)),
                "repaired_inputs": draw_fitness(solved, label="specific inputs right", rounds="iteration"),
            },
        )

    def _free(
        self, model: nn.Module, places: Layers, found: Influences, classes: int, generator: torch.Generator
    ) -> Tensor:
        """Step 3: which parameters may move, [D] bool."""
        if self.mask == "none":
            return torch.ones_like(found.joint, dtype=torch.bool)
        gamma = self.gamma / classes if self.normalise_general else self.gamma
        free = free_edges(found, gamma) if self.influence == "edge" else free_nodes(model, places, found, gamma)
        if self.mask == "random":
            return torch.randperm(len(free), generator=generator).to(free.device) < free.sum()
        return free

    def _accepted(self, problem: Problem, model: nn.Module, places: Layers, states: Sequence[Tensor]) -> bool:
        """Write the first of the states that the guard lets through into `model`; whether there is one."""
        for values in states:
            write(model, places, values)
            if not self.guard or keeps_accuracy(problem, model):
                return True
        return False
