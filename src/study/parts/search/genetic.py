"""Genetic search over patches whose places grow round by round, with a lexicographic fitness."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from study.parts.network.places import Entries
from study.parts.search.error_count import Errors
from study.parts.search.windows import Windows

Evaluation = Callable[[Entries, Tensor, Errors | None], Errors]
"""As `ErrorCount`: from places (D), values [P, D] and rivals to errors; of what is worse than all of them, some."""
Mutate = Callable[[Tensor, str], Tensor]
"""From values [P, k] of entries of the parameter of that name to the same with some of them mutated."""


@dataclass(frozen=True)
class Generation:
    """P patches of a network, the original; as `search` yields them, the fittest first.

    Fitter are fewer wrong answers, then less loss, then fewer changed weights. places: D entries; values: [P, D];
    errors: [P] each; changed: [P] int64, values that are not the original's.
    """

    places: Entries
    values: Tensor
    errors: Errors
    changed: Tensor

    def grown(self, places: Entries, original: Tensor) -> Generation:
        """The same patches at more places, the first of which are the present ones; original: values of all, [D]."""
        new = original[self.values.shape[1] :].expand(len(self.values), -1)
        return Generation(places, torch.cat([self.values, new], 1), self.errors, self.changed)

    def joined(self, children: Tensor, errors: Errors, original: Tensor) -> Generation:
        """These patches, then the `children` [P, D] with their errors; original: values [D]."""
        merged = Errors(*(torch.cat(pair) for pair in zip(self.errors, errors, strict=True)))
        changed = torch.cat([self.changed, (children != original).sum(1)])
        return Generation(self.places, torch.cat([self.values, children]), merged, changed)

    def fittest(self, size: int) -> Generation:
        """The fittest `size`, in order; of equals, the first come first."""
        order = self.changed.argsort(stable=True)
        order = order[self.errors.loss[order].argsort(stable=True)]
        order = order[self.errors.wrong[order].argsort(stable=True)][:size]
        return Generation(self.places, self.values[order], at(self.errors, order), self.changed[order])

    def patch(self, number: int, model: nn.Module) -> tuple[Entries, Tensor]:
        """Those places where a patch differs from `model`, the original, and its values there."""
        chosen = self.values[number] != self.places.values(model)
        used, owner = self.places.owner[chosen].unique(return_inverse=True)
        names = tuple(self.places.names[layer] for layer in used.tolist())
        return Entries(names, owner, self.places.index[chosen]), self.values[number, chosen]


def genetic_search(
    model: nn.Module,
    evaluate: Evaluation,
    windows: Windows,
    mutate: Mutate,
    *,
    population: int,
    rounds: int,
    patience: int,
    crossover: float,
    inherit: bool,
    generator: torch.Generator,
) -> Iterator[Generation]:
    """Yields `population` copies of the original, then the fittest after each of at most `rounds` rounds.

    A round opens a window, makes `population` children by crossover (at that rate, of two parents that each won a
    binary tournament) and mutation of the window's entries, and keeps the fittest of parents and children; of equals
    parents, then the order of birth. Ends when the best has no wrong answer, or not one less for `patience` rounds.
    model: the original; inherit: False mutates the original in every round instead of a parent.
    """
    parents = _copies(windows.places, windows.places.values(model), evaluate, population)
    yield parents
    best, stale = parents.errors.wrong[0], 0
    for _ in range(rounds):
        if best == 0 or stale >= patience:
            return
        window = windows.next()
        original = windows.places.values(model)
        parents = parents.grown(windows.places, original)
        if inherit:
            first, children = _offspring(parents.values, crossover, generator)
        else:
            first, children = None, original.repeat(population, 1)
        children[:, window.columns] = mutate(children[:, window.columns], window.parameter)
        parents = parents.joined(children, _evaluated(evaluate, parents, children, first), original).fittest(population)
        stale = 0 if parents.errors.wrong[0] < best else stale + 1
        best = parents.errors.wrong[0]
        yield parents


def at(errors: Errors, chosen: Tensor) -> Errors:
    """The errors of those networks."""
    return Errors(errors.wrong[chosen], errors.loss[chosen])


def _copies(places: Entries, values: Tensor, evaluate: Evaluation, size: int) -> Generation:
    """The original, `size` times: values [D]."""
    errors = evaluate(places, values[None], None)
    zeros = torch.zeros(size, dtype=torch.int64, device=values.device)
    return Generation(places, values.repeat(size, 1), at(errors, zeros), zeros)


def _offspring(values: Tensor, crossover: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A first parent ([P] int64) and a child [P, D] for each of P patches [P, D], the fittest first.

    A parent is the fitter of two random ones. At the rate `crossover` a child takes each value from either parent with
    equal chance, else it copies the first.
    """
    size = len(values)
    rivals = torch.randint(size, (2, 2, size), generator=generator)
    first, second = rivals.amin(0).to(values.device)
    crossed = torch.rand(size, 1, generator=generator) < crossover
    from_second = crossed & (torch.rand(values.shape, generator=generator) < 0.5)
    return first, torch.where(from_second.to(values.device), values[second], values[first])


def _evaluated(evaluate: Evaluation, parents: Generation, children: Tensor, first: Tensor | None) -> Errors:
    """Errors of the children [P, D], with the parents as rivals; those of a copy of its first parent are known."""
    if first is None:
        return evaluate(parents.places, children, parents.errors)
    new = (children != parents.values[first]).any(1)
    errors = at(parents.errors, first)
    if new.any():
        for known, found in zip(errors, evaluate(parents.places, children[new], parents.errors), strict=True):
            known[new] = found
    return errors
