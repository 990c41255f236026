"""CARE: scales the neurons that cause the wrong predictions.

Sun, Sun, Pham, Shi, "Causality-Based Neural Network Repair", ICSE 2022, and the authors' code (sunbingsmu/care).
Differs from the code: the class whose probability is watched is the one that each failing input was given (there a
backdoor's target, on clean inputs); the fitness counts all repair inputs, not 31 batches, so it has no noise. Neurons
are inputs of Linear layers, into whose weights factors fold exactly; all such layers are tried, not one picked by hand.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import islice
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from study.errors import RepairFailed
from study.parts.localisation.causal import causal_effects
from study.parts.network.activations import entering
from study.parts.network.linear_cuts import LinearCut, dense_end, linear_cuts
from study.parts.network.places import Columns, write
from study.parts.pictures.scaled_neurons import draw_scaled
from study.parts.search.error_rate import ErrorRate
from study.parts.search.evolution import Population
from study.parts.search.guard import Guard
from study.parts.search.patches import patches
from study.parts.search.random_draws import random_draws
from study.parts.search.scaled_neurons import ScaledNeurons, fittest
from study.parts.search.swarm import global_best_swarm
from study.parts.selection.repair_inputs import by_margin, passing_sample
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Log, Repair, Repaired
from study.runtime.settings import settings

Weight = Annotated[float, Field(ge=0)]


@settings
class CARE(Approach):
    """Finds the neurons whose output moves the wrong predictions most, and searches factors for what they send on.

    layer: where neurons are scaled, `auto`: every Linear layer is tried and the fittest repair kept; neurons: how many;
    localisation: by `causal` effect, or as many at `random` (a control); steps: levels that a neuron's output is forced
    to; ie_inputs: whose predictions are watched; alpha: weight of the passing inputs' error rate in the fitness, beside
    1 - alpha of the failing ones', `auto`: so that a failing input counts as two passing ones; max_passing: passing
    inputs used (None: all); search: a `swarm` of `particles`, scored `iterations` times, or as many `random` draws of
    first steps (a control); inertia, cognitive, social: its constants; bounds: of a factor, periodic; v0: range of the
    velocities at first; tolerance, window: see `global_best_swarm`; guard: only factors that keep validation accuracy.
    """

    level: ClassVar[Level] = "neuron"
    source: ClassVar[str] = "Sun, Sun, Pham, Shi: CARE, ICSE 2022"
    unchanged_is_result: ClassVar[bool] = True

    layer: Literal["auto", "last"] = "auto"
    neurons: Annotated[int, Field(ge=1)] = 16
    localisation: Literal["causal", "random"] = "causal"
    steps: Annotated[int, Field(ge=2)] = 4
    ie_inputs: Literal["failing", "passing", "both"] = "failing"
    alpha: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = "auto"
    max_passing: Annotated[int, Field(ge=1)] | None = 5000
    search: Literal["swarm", "random"] = "swarm"
    particles: Annotated[int, Field(ge=1)] = 20
    iterations: Annotated[int, Field(ge=0)] = 100
    inertia: Weight = 0.8
    cognitive: Weight = 0.41
    social: Weight = 0.41
    bounds: tuple[Annotated[float, Field(le=1)], Annotated[float, Field(gt=1)]] = (-10.0, 10.0)
    v0: Literal["symmetric", "positive"] = "symmetric"
    tolerance: Weight | None = None
    window: Annotated[int, Field(ge=1)] = 10
    guard: bool = False

    def check(self, task: TaskSpec) -> None:
        linear_cuts(task.model, task.example(2))  # raises NotApplicable where there is none

    def repair(self, problem: Problem) -> Repair:
        """Search layer by layer, the last first, and scale the neurons of the fittest repair in a copy."""
        if self.ie_inputs == "passing" and not len(problem.passing):
            raise RepairFailed("the model is right on no repair input", evaluations=0)
        generator = problem.stream("search")
        passing = passing_sample(problem, self.max_passing or len(problem.passing), generator)
        end, cuts = dense_end(problem, last_only=self.layer == "last")  # step 1
        indices = by_margin(end, torch.cat([problem.failing, passing]))
        found = list[ScaledNeurons]()
        for cut in reversed(cuts):
            found.append((yield from self._searched(end, cut, indices, generator)))
        best = fittest(found)
        repaired = problem.copy()
        write(repaired, best.neurons, best.factors)  # step 7
        costs = {"evaluations": self.particles * sum(len(each.rounds) - 1 for each in found)}
        return Repaired(repaired, costs, lambda: draw_scaled(problem.faulty, found[::-1], best, "effect"))

    def _searched(
        self, end: Problem, cut: LinearCut, indices: Tensor, generator: torch.Generator
    ) -> Generator[Log, None, ScaledNeurons]:
        """Steps 2 to 6 in one layer, on the repair inputs at `indices`."""
        targets = torch.isin(indices, end.failing)
        features = entering(end.faulty, cut.name, end.repair_set, indices)
        watched = {"failing": targets, "passing": ~targets, "both": torch.ones_like(targets)}[self.ie_inputs]
        if self.localisation == "causal":  # steps 2 to 4
            scores = causal_effects(cut, features, watched, self.steps)
        else:
            scores = torch.rand(features.shape[1], generator=generator).to(features)
        neurons = Columns(cut.name, scores.argsort(descending=True, stable=True)[: self.neurons])
        failing, count = int(targets.sum()), len(targets)
        alpha = (count - failing) / (count + failing) if self.alpha == "auto" else self.alpha
        fitness = ErrorRate(patches(end.faulty, neurons, end.repair_set, indices), targets, alpha)  # step 5
        ones = neurons.values(end.faulty)
        population = Population(ones[None], fitness(ones[None]))
        guard, rounds = Guard(end, neurons), [population.fitness[0]]
        guard.watch(population)
        yield {"search/neurons": len(neurons), "search/original_fitness": rounds[0]}
        for population in self._rounds(fitness, ones, generator):  # step 6
            guard.watch(population)
            rounds.append(population.fitness.max())
            yield fitness.summary(population)
        factors = guard.chosen() if self.guard else population.best
        if factors is None or not (value := fitness(factors[None])[0]) > rounds[0]:
            factors, value = ones, rounds[0]
        return ScaledNeurons(neurons, factors, value, scores, rounds)

    def _rounds(self, fitness: ErrorRate, ones: Tensor, generator: torch.Generator) -> Iterator[Population]:
        """The swarm starts with all particles at the identity, at random velocities; `random` draws first steps."""

        def velocity() -> Tensor:
            drawn = torch.rand(self.particles, len(ones), generator=generator).to(ones)
            return drawn if self.v0 == "positive" else 2 * drawn - 1

        if self.search == "random":
            draws = random_draws(fitness, lambda: ones + velocity(), rounds=self.iterations, ceiling=fitness.ceiling)
            return islice(draws, self.iterations)
        return global_best_swarm(
            fitness,
            ones.repeat(self.particles, 1),
            *(bound * ones for bound in self.bounds),
            velocity=velocity(),
            iterations=self.iterations,
            inertia=self.inertia,
            cognitive=self.cognitive,
            social=self.social,
            tolerance=self.tolerance,
            window=self.window,
            ceiling=fitness.ceiling,
            generator=generator,
        )
