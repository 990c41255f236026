"""Arachne: search-based repair of a few localised weights.

J. Sohn, S. Kang, S. Yoo, "Arachne: Search Based Repair of Deep Neural Networks", ACM TOSEM 32(4), article 85, 2023
(arXiv 1912.12463); the journal version, which searches by differential evolution, as its authors' code runs it.
Level: neuron. Needs: a Linear or Conv2d layer, logits as output, failing and passing repair inputs.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field, validate_call
from torch import Tensor, nn

from study.errors import NotApplicable, RepairFailed
from study.parts.localisation.weights import ConvNorm, Localiser, eligible_layers, pareto_front, pooled
from study.parts.network.patched import ALL, Patches, Places, Scores, patches
from study.parts.network.structure import WEIGHTED
from study.parts.search.evolution import Population, differential_evolution
from study.problem.prediction import predict
from study.problem.problem import Problem, TaskSpec
from study.repair.approach import Log, Patching, Rounds, Seconds


class Arachne(Patching):
    """Finds the few weights that drive the failures and little else, and searches new values for them.

    Args:
        population: individuals of the differential evolution.
        generations: generations at most; 0 is no search, hence no repair.
        mutation: range of the mutation factor F, drawn once per generation.
        crossover: rate CR at which a trial takes a mutated gene.
        patience: generations for which the best fitness may stay unchanged.
        alpha: weight of a failing input in the fitness; a passing one weighs 1.
        target: what to repair: a random share of `all` failing inputs, or those of the most frequent
            (true, predicted) pair of classes (`top_type`).
        neg_fraction: that share, with target `all`.
        layers: layers whose weights may change: `all`, or the `last` of them.
        conv_norm: normaliser of a convolution's forward impact: over the whole batch (`reference`) or `per_input`.
        max_places: the first weights of the front that are searched, by gradient loss; None: the whole front.
        accept: use the patch `if_better` than the original's fitness, or `always`.
    """

    level = "neuron"
    source = "Sohn, Kang, Yoo: Arachne, TOSEM 2023"

    @validate_call
    def __init__(
        self,
        *,
        population: Annotated[int, Field(ge=4)] = 100,
        generations: Annotated[int, Field(ge=0)] = 100,
        mutation: tuple[Annotated[float, Field(gt=0, le=2)], Annotated[float, Field(gt=0, le=2)]] = (0.5, 1.0),
        crossover: Annotated[float, Field(ge=0, le=1)] = 0.7,
        patience: Annotated[int, Field(ge=0)] = 30,
        alpha: Annotated[float, Field(gt=0)] = 4.0,
        target: Literal["all", "top_type"] = "all",
        neg_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0,
        layers: Literal["all", "last"] = "last",
        conv_norm: ConvNorm = "reference",
        max_places: Annotated[int, Field(ge=1)] | None = None,
        accept: Literal["if_better", "always"] = "if_better",
        max_seconds: Seconds = None,
    ) -> None:
        super().__init__(max_seconds=max_seconds)
        self.population, self.generations = population, generations
        self.mutation, self.crossover, self.patience = mutation, crossover, patience
        self.alpha, self.target, self.neg_fraction = alpha, target, neg_fraction
        self.eligible, self.conv_norm, self.max_places = layers, conv_norm, max_places
        self.accept = accept
        self._evaluations = 0

    def check(self, task: TaskSpec) -> None:
        if not any(isinstance(module, WEIGHTED) for module in task.model.modules()):
            raise NotApplicable(f"needs a Linear or Conv2d layer: {type(task.model).__name__} has none")
        shape = (2, *task.input_shape)
        example = torch.linspace(0, 1, math.prod(shape)).reshape(shape)
        eligible_layers(task.model, example.long() if task.kind == "tokens" else example)

    def rounds(self, problem: Problem) -> Rounds:
        """Localise the weights, search their values, write the best into a copy of the faulty model."""
        if not len(problem.passing):
            raise RepairFailed("the model is right on no repair input")
        generator = problem.stream("search")
        failing, before = self._targets(problem, generator)
        places = self._localise(problem, failing, generator)
        indices = torch.cat([failing, problem.passing])[before.argsort()]  # hardest first
        evaluation = patches(problem.faulty, places, problem.repair_set, indices)
        fitness = Fitness(evaluation, torch.isin(indices, failing), self.alpha)
        original = places.values(problem.faulty)
        to_beat = fitness(original[None])[0]
        yield {"search/places": len(places), "search/targets": len(failing), "search/original_fitness": to_beat}
        if not self.generations:
            raise RepairFailed("no search: generations=0")
        mean, std, lower, upper = _layer_statistics(problem.faulty, places)
        noise = torch.randn(self.population, len(places), generator=generator)
        start = mean + std * noise.to(mean)
        for population in differential_evolution(
            fitness,
            start,
            lower,
            upper,
            generations=self.generations,
            mutation=self.mutation,
            crossover=self.crossover,
            patience=self.patience,
            ceiling=fitness.ceiling,
            generator=generator,
        ):
            self._evaluations += self.population
            yield fitness.summary(population)
        if self.accept == "if_better" and not population.fitness.max() > to_beat:
            raise RepairFailed("no individual beats the original's fitness")
        repaired = problem.copy()
        places.write(repaired, population.best)
        return repaired

    def costs(self) -> Log:
        return {"evaluations": self._evaluations}

    def _targets(self, problem: Problem, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Step 1: the failing inputs to repair (I_neg), and the margin of each of them and of all passing inputs."""
        failing = problem.failing
        if self.target == "all":
            count = max(1, int(self.neg_fraction * len(failing)))
            failing = failing[torch.randperm(len(failing), generator=generator)[:count].to(failing.device)]
        else:
            failing = _top_type(problem)
        chosen = problem.repair_set.subset(torch.cat([failing, problem.passing]))
        logits, label = predict(problem.faulty, chosen), chosen.labels[:, None]
        return failing, logits.gather(1, label)[:, 0] - logits.scatter(1, label, -torch.inf).amax(1)

    def _localise(self, problem: Problem, failing: Tensor, generator: torch.Generator) -> Places:
        """Steps 2 to 5: gradient loss and forward impact on failing and on passing inputs, and their Pareto front."""
        names = eligible_layers(problem.faulty, problem.repair_set.fetch(failing[:2]).inputs)
        localiser = Localiser(problem.faulty, names if self.eligible == "all" else names[-1:])
        passing = _passing_sample(problem, len(failing), generator)
        drives, matters = [], []
        for indices in (failing, passing):
            gradients = localiser.gradients(problem.repair_set, indices)
            impact = localiser.forward_impact(problem.repair_set, indices, gradients.back, self.conv_norm)
            drives.append(pooled(gradients.loss))
            matters.append(pooled(impact))
        if not drives[0].any():
            raise RepairFailed("the gradient loss of every weight is zero on the failing inputs")
        front = pareto_front(drives[0] / (1 + drives[1]), matters[0] / (1 + matters[1]))
        return Places.pooled(problem.faulty, localiser.names, front[: self.max_places])


class Fitness:
    """Step 6: sum over the inputs of phi = 1 if right, else 1 / (cross-entropy + 1); targets weigh alpha.

    The inputs are evaluated in parts, the hardest first, and a trial that can no longer reach its floor is dropped.
    """

    PARTS = (0.05, 0.25, 1.0)
    SLACK = 1e-6  # more than the sums can be off by rounding

    def __init__(self, evaluation: Patches, targets: Tensor, alpha: float) -> None:
        """targets: [N] bool, in the order of the evaluation's items: the failing inputs to repair."""
        self.evaluation, self.targets = evaluation, targets
        self.weights = torch.where(targets, alpha, 1.0).double()
        self.ceiling = self.weights.sum().item()
        ends = [0, *(-int(-part * len(targets) // 1) for part in self.PARTS)]
        self._parts = [slice(first, last) for first, last in pairwise(ends)]

    def __call__(self, values: Tensor, floors: Tensor | None = None) -> Tensor:
        """Fitness [P] float64 of the patches `values` [P, D]; below its floor [P], only part of the sum."""
        total = torch.zeros(len(values), dtype=torch.float64, device=values.device)
        alive = torch.arange(len(values), device=values.device)
        for rows in self._parts:
            total[alive] += _phi(self.evaluation.scores(values[alive], rows)) @ self.weights[rows]
            if floors is not None:
                reachable = total[alive] + self.weights[rows.stop :].sum() + self.SLACK
                alive = alive[reachable >= floors[alive]]
            if not len(alive):
                break
        return total

    def summary(self, population: Population) -> Log:
        """What to log of a generation: the best fitness, and the shares of targets fixed and of passing inputs kept."""
        right = self.evaluation.scores(population.best[None], ALL).right[0].double()
        return {
            "search/best_fitness": population.fitness.max(),
            "search/failing_fixed": right[self.targets].mean(),
            "search/passing_kept": right[~self.targets].mean(),
        }


def _phi(scores: Scores) -> Tensor:
    return torch.where(scores.right, 1.0, 1 / (scores.loss + 1)).double()


def _top_type(problem: Problem) -> Tensor:
    """The failing inputs of the most frequent pair (true, predicted); of equally frequent ones the first."""
    failing = problem.repair_set.subset(problem.failing)
    predicted = predict(problem.faulty, failing).argmax(1)
    pairs, kind = (failing.labels * problem.task.num_classes + predicted).unique(return_inverse=True)
    most_frequent = kind.bincount(minlength=len(pairs)).argmax()
    return problem.failing[kind == most_frequent]


def _passing_sample(problem: Problem, size: int, generator: torch.Generator) -> Tensor:
    """Step 2: some `size` passing inputs, stratified by class, at least one of each; all if there are no more."""
    passing = problem.passing
    if size >= len(passing):
        return passing
    labels = problem.repair_set.labels[passing]
    shuffled = torch.randperm(len(passing), generator=generator).to(passing.device)
    counts = labels.bincount()
    shares = (size * counts / len(passing)).round().long().clamp(min=1)
    members = [shuffled[labels[shuffled] == c][:share] for c, share in enumerate(shares.tolist())]
    return passing[torch.cat(members)]


def _layer_statistics(model: nn.Module, places: Places) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, population standard deviation, lower and upper bound of each gene from its layer's weights, [D] each."""
    rows = []
    for name in places.names:
        weight = model.get_submodule(name).weight.detach()  # type: ignore[operator]
        low, high = weight.min(), weight.max()
        lower, upper = low * torch.where(low < 0, 2.0, 0.5), high * torch.where(high > 0, 2.0, 0.5)
        rows.append(torch.stack([weight.mean(), weight.std(unbiased=False), lower, upper]))
    mean, std, lower, upper = torch.stack(rows)[places.layer].T
    return mean, std, lower, upper
