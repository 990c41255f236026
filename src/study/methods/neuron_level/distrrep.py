"""DistrRep: repairs each critical misclassification on its own, then searches how to merge the repairs, by risk.

D. Li Calsi et al., "Distributed Repair of Deep Neural Networks", ICST 2023, read off jst-qaml/eAI-Repair-Toolkit (MIT).
Level: neuron. Needs: a last Linear layer that gives the logits, a risk, failing and passing repair inputs.

Other than the toolkit: every repair starts from the faulty model (there from the one before it, so that the merge has
nothing left to mix); weights that repairs share are found; the forward impact is a mean over the failing inputs, not
that of the first; the merge weighs the accuracy of all classes, not of the repaired ones alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from study.errors import NotApplicable, RepairFailed
from study.parts.localisation.chance import random_entries
from study.parts.localisation.front import failing_front
from study.parts.network.layers import output_layer
from study.parts.network.places import Entries, write
from study.parts.network.readout import Readout
from study.parts.pictures.search import draw_search
from study.parts.search.evolution import Population
from study.parts.search.fitness import TwoLosses
from study.parts.search.guard import Guard
from study.parts.search.merging import Coding, Merge, MergedRisk
from study.parts.search.patches import patches
from study.parts.search.repair_swarm import RepairSwarm, Speed
from study.parts.selection.repair_inputs import random_passing
from study.parts.selection.risk import Risk, frequent_errors
from study.problem.prediction import predict
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.settings import settings

LAYER = "0"  # the last layer's name in a `Readout`
NO_RISK = {"mnist": "digits", "utkface": "two classes"}
"""Data sets that the ICSE 2026 study could not adapt it to, and of what no confusion is worse than another."""


@settings
class DistrRep(Approach):
    """Repairs error by error and merges the repairs by risk; hyperparameters: conf/method/distrrep.yaml."""

    level: ClassVar[Level] = "neuron"
    source: ClassVar[str] = "Li Calsi et al.: Distributed Repair of Deep Neural Networks, ICST 2023"

    risk: Risk | Literal["auto"] | None = "auto"
    auto_targets: Annotated[int, Field(ge=0)] = 5
    auto_classes: Annotated[int, Field(ge=0)] = 3
    adaptability: Literal["structural", "study"] = "structural"
    particles: Annotated[int, Field(ge=1)] = 100
    iterations: Annotated[int, Field(ge=0)] = 100
    patience: Annotated[int, Field(ge=1)] = 10
    phi: Annotated[float, Field(gt=4)] = 4.1
    speed: Speed = (0.2, 5.0)
    n_grad: Annotated[int, Field(ge=1)] = 20
    n_pos: Annotated[int, Field(ge=1)] | None = 1000
    coding: Coding = "interp"
    merge_start: tuple[float, Annotated[float, Field(ge=0)]] = (0.5, 0.125)
    merge_speed: Speed = (0.2, 5.0)
    accept: Literal["if_better", "always"] = "if_better"
    guard: bool = False
    localisation: Literal["pareto", "random"] = "pareto"
    search: Literal["swarm", "random"] = "swarm"
    merge: Literal["risk", "sum"] = "risk"

    def check(self, task: TaskSpec) -> None:
        output_layer(task.model, task.example(2))
        if self.risk is None:
            raise NotApplicable("needs a risk of each misclassification: method.risk is null")
        if self.adaptability == "study" and task.dataset in NO_RISK:
            raise NotApplicable(f"needs a risk of each misclassification: the study found none for {task.dataset}")
        if self.risk != "auto" and (misfit := self.risk.misfit(task.num_classes)):
            raise NotApplicable(f"needs a risk that fits the task: method.risk {misfit}")

    def repair(self, problem: Problem) -> Repair:
        """Repair each misclassification from the faulty model, search how to mix the repairs, write the best mix."""
        if not len(problem.passing):
            raise RepairFailed("the model is right on no repair input", evaluations=0)
        readout, scored = Readout.of(problem.faulty, problem.repair_set), torch.cat([problem.failing, problem.passing])
        labels, predicted = readout.split.labels, predict(readout.network, readout.split).argmax(1)
        if isinstance(self.risk, Risk):
            risk = self.risk
        else:
            among = labels[scored], predicted[scored], readout.layer.out_features
            risk = frequent_errors(*among, self.auto_targets, self.auto_classes)
        errors = risk.among(labels, predicted, problem.failing)
        if len(errors) < 2:
            raise NotApplicable(f"needs two misclassifications with failing inputs: the risk names {len(errors)}")
        if not self.iterations:
            raise RepairFailed("no search: iterations=0", evaluations=0)

        # Phases 1 and 2: each misclassification on its own, from the faulty model.
        swarm = RepairSwarm(self.particles, self.iterations, self.patience, self.phi, self.speed, self.search)
        repairs, evaluations = list[tuple[Entries, Tensor]](), 0
        passing = random_passing(problem, self.n_pos, problem.stream("search"))
        for kind, failing in errors.items():
            generator = problem.stream(f"search {kind}")
            if len(places := self._localised(readout, failing, generator)):
                indices = torch.cat([failing, passing])
                evaluation = patches(readout.network, places, readout.split, indices)
                fitness = TwoLosses(evaluation, torch.isin(indices, failing), shares=False)
                rounds = list(swarm.over_weights(readout.network, places, fitness, generator))
                repairs.append((places, rounds[-1].best))
                evaluations += self.particles * len(rounds)
                yield {name.replace("search", "repair"): value for name, value in fitness.summary(rounds[-1]).items()}
        costs = {"evaluations": evaluations, "repairs": len(repairs)}
        if not repairs:
            raise RepairFailed("the gradient loss of every weight is zero on the failing inputs", **costs)

        # Phase 3: the coefficients of the repairs, by the risk of what is wrong among all repair inputs.
        merge = Merge.of(readout.network, repairs, self.coding)
        score = MergedRisk(merge, readout.layer, readout.split.inputs[scored], labels[scored], risk)
        original, places = float(score.of_values(merge.present[None])[0]), readout.in_model(merge.places)
        guard = Guard(problem, places, original if self.accept == "if_better" else -torch.inf)
        for mixed in self._merged(swarm, merge, score, problem):
            costs["evaluations"] += len(mixed.vectors)
            guard.watch(mixed)
            yield {"search/best_fitness": mixed.fitness.max()}
        unbeaten = "no merge beats the original's risk score"
        values = guard.settled(guarded=self.guard, unbeaten=unbeaten, **costs)
        write(repaired := problem.copy(), places, values)
        return Repaired(repaired, costs, lambda: draw_search(repaired, places, guard.history, original))

    def _localised(self, readout: Readout, failing: Tensor, generator: torch.Generator) -> Entries:
        """Phase 1: the Pareto front of gradient loss and forward impact."""
        front = failing_front(readout.network, LAYER, readout.split, failing, self.n_grad * len(failing))
        if self.localisation == "random":
            return random_entries(readout.network, [LAYER], len(front), generator)
        return Entries.pooled(readout.network, [LAYER], front)

    def _merged(self, swarm: RepairSwarm, merge: Merge, score: MergedRisk, problem: Problem) -> Iterator[Population]:
        """Phase 3: mixes of the repairs as values of the weights [P, U], scored, after each round."""
        if self.merge == "sum":
            values = merge.summed()[None]
            yield Population(values, score.of_values(values))
            return
        swarm = replace(swarm, speed=self.merge_speed)
        for mixed in swarm.over_coefficients(len(merge), *self.merge_start, score, problem.stream("search merge")):
            yield Population(merge.values(mixed.vectors), mixed.fitness)
