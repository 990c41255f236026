"""Arachne: search-based repair of a few localised weights.

J. Sohn, S. Kang, S. Yoo, "Arachne: Search Based Repair of Deep Neural Networks", ACM TOSEM 32(4), article 85, 2023
(arXiv 1912.12463); the journal version, which searches by differential evolution, as its authors' code runs it.
Level: neuron. Needs: a Linear or Conv2d layer, logits as output, failing and passing repair inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from study.errors import NotApplicable, RepairFailed
from study.parts.localisation.chance import random_entries
from study.parts.localisation.weights import ConvNorm, Localiser, pooled
from study.parts.network.layers import eligible_layers
from study.parts.network.places import Entries, write
from study.parts.network.statistics import doubled_range, normal_values
from study.parts.network.structure import WEIGHTED
from study.parts.pictures.search import draw_search
from study.parts.search.evolution import Population, differential_evolution
from study.parts.search.fitness import SoftCount
from study.parts.search.guard import Guard
from study.parts.search.pareto import pareto_front
from study.parts.search.patches import patches
from study.parts.search.random_draws import random_draws
from study.parts.selection.repair_inputs import by_margin, most_frequent_error, passing_sample, random_failing
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.settings import settings

Factor = Annotated[float, Field(gt=0, le=2)]


@settings
class Arachne(Approach):
    """Finds the few weights that drive the failures and little else, and searches new values for them.

    population: individuals of the differential evolution; generations: generations at most, 0 is no search, hence no
    repair; mutation: range of the mutation factor F, drawn once per generation; crossover: rate CR at which a trial
    takes a mutated gene; patience: generations for which the best fitness may stay unchanged; alpha: weight of a
    failing input in the fitness, a passing one weighs 1; target: what to repair, a random share (neg_fraction) of `all`
    failing inputs or those of the most frequent (label, prediction) pair (`top_type`); layers: layers whose weights may
    change, `all` or the `last` of them; conv_norm: normaliser of a convolution's forward impact, over the whole batch
    (`reference`) or `per_input`; max_places: the first weights of the front that are searched, by gradient loss (None:
    the whole front); accept: use the patch `if_better` than the faulty model's fitness, or `always`; guard: of the
    patches seen, take the fittest that does not lower validation accuracy (not in the paper; on MNIST two of three runs
    have none). Controls: localisation `random`, as many weights of the same layers; search `random`, as many draws.
    """

    level: ClassVar[Level] = "neuron"
    source: ClassVar[str] = "Sohn, Kang, Yoo: Arachne, TOSEM 2023"

    population: Annotated[int, Field(ge=4)] = 100
    generations: Annotated[int, Field(ge=0)] = 100
    mutation: tuple[Factor, Factor] = (0.5, 1.0)
    crossover: Annotated[float, Field(ge=0, le=1)] = 0.7
    patience: Annotated[int, Field(ge=0)] = 30
    alpha: Annotated[float, Field(gt=0)] = 4.0
    target: Literal["all", "top_type"] = "all"
    neg_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    layers: Literal["all", "last"] = "last"
    conv_norm: ConvNorm = "reference"
    max_places: Annotated[int, Field(ge=1)] | None = None
    accept: Literal["if_better", "always"] = "if_better"
    guard: bool = False
    localisation: Literal["pareto", "random"] = "pareto"
    search: Literal["evolution", "random"] = "evolution"

    def check(self, task: TaskSpec) -> None:
        if not any(isinstance(module, WEIGHTED) for module in task.model.modules()):
            raise NotApplicable(f"needs a Linear or Conv2d layer: {task.name} has none")
        eligible_layers(task.model, task.example(2))

    def repair(self, problem: Problem) -> Repair:
        """Localise the weights, search their values, write the best into a copy of the faulty model."""
        if not len(problem.passing):
            raise RepairFailed("the model is right on no repair input", evaluations=0)
        generator = problem.stream("search")
        everything = self.target == "all"  # step 1: the failing inputs to repair, I_neg
        targets = random_failing(problem, self.neg_fraction, generator) if everything else most_frequent_error(problem)
        places = self._localised(problem, targets, generator)

        # Step 6: the fitness, over the targets and all passing inputs.
        indices = by_margin(problem, torch.cat([targets, problem.passing]))
        evaluation = patches(problem.faulty, places, problem.repair_set, indices)
        fitness = SoftCount(evaluation, torch.isin(indices, targets), self.alpha)
        original = float(fitness(places.values(problem.faulty)[None])[0])
        yield {"search/places": len(places), "search/targets": len(targets), "search/original_fitness": original}
        if not self.generations:
            raise RepairFailed("no search: generations=0", evaluations=0)

        # Steps 7 to 9: the search, and which of its patches is used.
        guard = Guard(problem, places, original if self.accept == "if_better" else -torch.inf)
        for population in self._searched(problem.faulty, places, fitness, generator):
            guard.watch(population)
            yield fitness.summary(population)
        costs = {"evaluations": self.population * len(guard.history)}
        unbeaten = "no individual beats the original's fitness"
        values = guard.settled(guarded=self.guard, unbeaten=unbeaten, **costs)
        write(repaired := problem.copy(), places, values)
        return Repaired(repaired, costs, lambda: draw_search(repaired, places, guard.history, original))

    def _localised(self, problem: Problem, targets: Tensor, generator: torch.Generator) -> Entries:
        """Steps 2 to 5: gradient loss and forward impact on targets and on passing inputs, and their Pareto front."""
        names = eligible_layers(problem.faulty, problem.repair_set.fetch(targets[:2]).inputs)
        localiser = Localiser(problem.faulty, names if self.layers == "all" else names[-1:])
        losses, impacts = [], []
        for indices in (targets, passing_sample(problem, len(targets), generator)):
            gradients = localiser.gradients(problem.repair_set, indices)
            impact = localiser.forward_impact(problem.repair_set, indices, gradients.back, self.conv_norm)
            losses.append(pooled(gradients.loss))
            impacts.append(pooled(impact))
        if not losses[0].any():
            raise RepairFailed("the gradient loss of every weight is zero on the failing inputs", evaluations=0)
        front = pareto_front(losses[0] / (1 + losses[1]), impacts[0] / (1 + impacts[1]))[: self.max_places]
        if self.localisation == "random":
            return random_entries(problem.faulty, localiser.names, len(front), generator)
        return Entries.pooled(problem.faulty, localiser.names, front)

    def _searched(
        self, model: nn.Module, places: Entries, fitness: SoftCount, generator: torch.Generator
    ) -> Iterator[Population]:
        """Differential evolution, started from and bounded by the statistics of each weight's layer."""
        draw = partial(normal_values, model, places, self.population, generator)
        if self.search == "random":
            return random_draws(fitness, draw, rounds=self.generations, ceiling=fitness.ceiling)
        return differential_evolution(
            fitness,
            draw(),
            *doubled_range(model, places),
            generations=self.generations,
            mutation=self.mutation,
            crossover=self.crossover,
            patience=self.patience,
            ceiling=fitness.ceiling,
            generator=generator,
        )
