"""GenMuNN: mutation of the weights that matter most, kept by a genetic search.

H. Wu, Z. Li, Z. Cui, J. Liu, "GenMuNN: A mutation-based approach to repair deep neural network models", International
Journal of Modeling, Simulation, and Scientific Computing, 2022/2023, article 2341008. A reconstruction: there is no
public code, and only the abstract was at hand. It says: rank the weights of every layer by their influence on right
answers, mutate them in that order, keep the best mutants with a genetic algorithm. All the rest is ours.
Level: neuron. Needs: a Linear or Conv2d layer, failing and passing repair inputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from study.errors import NotApplicable
from study.parts.localisation.importance import ablation_importance, gradient_importance
from study.parts.network.layers import weighted_layers
from study.parts.network.places import Entries, write
from study.parts.pictures.fitness import draw_fitness
from study.parts.pictures.localised import draw_localised
from study.parts.search.error_count import ErrorCount
from study.parts.search.genetic import genetic_search
from study.parts.search.guard import keeps_accuracy
from study.parts.search.mutation import Mutation, Operator
from study.parts.search.windows import Windows
from study.parts.selection.repair_inputs import by_margin
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.settings import settings

Share = Annotated[float, Field(ge=0, le=1)]


@settings
class GenMuNN(Approach):
    """Mutates windows of important weights, layer after layer, and keeps what is right on more repair inputs.

    population: patches P that survive a round, and children of a round; rho: share of a layer's weights in a window;
    sigma: size of a mutation, relative to the weight; p_mut: chance of each weight of the window to be mutated;
    p_cross: chance of a child to have two parents; max_rounds: rounds at most, 0 leaves the model as it is; patience:
    rounds without a further right answer; max_fit: repair inputs that count, all failing ones and as many passing ones
    as fit; operator: see `Mutation`; rank: importance by `gradient`, by `ablation` (one pass per weight: for tiny
    networks), or none (`random`); search: `genetic`, or `random` mutants of the original alone, as many; guard: hand
    over only what does not lower validation accuracy.
    """

    level: ClassVar[Level] = "neuron"
    source: ClassVar[str] = "Wu, Li, Cui, Liu: GenMuNN, IJMSSC 2023 (a reconstruction)"
    unchanged_is_result: ClassVar[bool] = True

    population: Annotated[int, Field(ge=2)] = 20
    rho: Annotated[float, Field(gt=0, le=1)] = 0.02
    sigma: Annotated[float, Field(ge=0)] = 0.2
    p_mut: Share = 0.5
    p_cross: Share = 0.5
    max_rounds: Annotated[int, Field(ge=0)] = 100
    patience: Annotated[int, Field(ge=1)] = 100
    max_fit: Annotated[int, Field(ge=1)] = 5000
    operator: Operator = "gauss"
    rank: Literal["gradient", "ablation", "random"] = "gradient"
    search: Literal["genetic", "random"] = "genetic"
    guard: bool = False

    def check(self, task: TaskSpec) -> None:
        if not weighted_layers(task.model, task.example(2)):
            raise NotApplicable(f"needs a Linear or Conv2d layer: {task.name} has none")

    def repair(self, problem: Problem) -> Repair:
        """Rank the weights, search patches of them, write the best into a copy of the faulty model."""
        generator = problem.stream("search")
        indices = self._fitness_set(problem, generator)
        rankings = self._rankings(problem, indices, generator)  # step 1; the genetic search follows, steps 2 to 7
        evaluate = ErrorCount(problem.faulty, problem.repair_set, by_margin(problem, indices))
        spreads = {name: problem.faulty.get_parameter(name).detach().std(correction=0) for name in rankings}
        generations = genetic_search(
            problem.faulty,
            evaluate,
            Windows(rankings, self.rho),
            Mutation(self.operator, self.p_mut, self.sigma, spreads, generator),
            population=self.population,
            rounds=self.max_rounds,
            patience=self.patience if self.search == "genetic" else self.max_rounds,
            crossover=self.p_cross,
            inherit=self.search == "genetic",
            generator=generator,
        )
        patches = list[tuple[Entries, Tensor]]()  # of the best after each round
        right = list[Tensor]()
        for generation in generations:
            patches.append(generation.patch(0, problem.faulty))
            wrong, loss = generation.errors
            right.append(len(indices) - wrong[0])
            summary = {"right": right[-1], "loss": loss[0] / len(indices), "weights": generation.changed[0]}
            yield {f"search/{name}": value for name, value in summary.items()}

        # Step 8: the last population holds the fittest of all; then come the best of earlier rounds, latest first.
        last = (generation.patch(number, problem.faulty) for number in range(1, self.population))
        repaired, places = self._guarded(problem, itertools.chain(patches[-1:], last, reversed(patches[:-1])))
        costs = {"evaluations": evaluate.evaluations, "passes": evaluate.items / len(indices)}
        return Repaired(
            repaired,
            costs,
            pictures=lambda: {
                "localised_weights": draw_localised(problem.faulty, places),
                "fitness": draw_fitness([float(count) for count in right], float(right[0]), "right answers", "round"),
            },
        )

    def _fitness_set(self, problem: Problem, generator: torch.Generator) -> Tensor:
        """All failing inputs, and so many random passing ones that there are at most `max_fit`: [M]."""
        room = max(0, self.max_fit - len(problem.failing))
        drawn = torch.randperm(len(problem.passing), generator=generator)[:room].to(problem.passing.device)
        return torch.cat([problem.failing, problem.passing[drawn]])

    def _rankings(self, problem: Problem, indices: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The entries of each weight by importance, by the parameter's name, in the order that the layers run."""
        model, split = problem.faulty, problem.repair_set
        layers = weighted_layers(model, split.fetch(indices[:2]).inputs)
        if self.rank == "gradient":
            groups = indices.split([len(problem.failing), len(indices) - len(problem.failing)])
            importance = gradient_importance(model, layers, split, groups)
        elif self.rank == "ablation":
            importance = ablation_importance(model, layers, split, indices)
        else:
            sizes = {name: model.get_parameter(f"{name}.weight").numel() for name in layers}
            importance = {name: torch.rand(size, generator=generator) for name, size in sizes.items()}
        return {
            f"{name}.weight": scores.flatten().argsort(descending=True, stable=True).to(problem.device)
            for name, scores in importance.items()
        }

    def _guarded(self, problem: Problem, patches: Iterable[tuple[Entries, Tensor]]) -> tuple[nn.Module, Entries]:
        """The faulty model with the first of the patches that the guard lets pass, and where that is.

        The last patch is the best of round 0, which changes nothing.
        """
        for places, values in patches:
            repaired = problem.copy()
            write(repaired, places, values)
            if not self.guard or keeps_accuracy(problem, repaired):
                break
        return repaired, places
