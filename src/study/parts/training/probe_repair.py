"""Masked fine-tuning block by block, each by its probe, with clean-up passes at the output (INNER, ISSTA 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch, Split
from study.parts.network.activations import activations
from study.parts.network.blocks import Block, inlet, outlet, segment
from study.parts.network.structure import Structure
from study.parts.training.validation_flips import Candidates, Rule, flips_of
from study.problem.prediction import right
from study.problem.problem import Problem
from study.runtime.fit import Stage

Loss = Literal["probe", "output"]
Norm = Literal["frozen", "train"]
CACHED = 2**28
"""Numbers that are kept of what enters a block, at most."""


@dataclass(frozen=True)
class Target:
    """A block to repair: its mask, shaped as its layer's weight, True where it may change, and its probe."""

    block: Block
    mask: Tensor
    probe: nn.Module


@dataclass(frozen=True, kw_only=True)
class Updates:
    """How the weights move, and by what.

    clean_passes: in each epoch; batch: failing inputs per step, and as many passing ones; lr: of plain SGD; alpha:
    weight of the labels, the rest is that of the distillation at `temperature`; loss: where these are taken, at the
    `probe` or at the `output`; bn: BatchNorm stays `frozen` or is in `train` mode; mask_bias: whether the layer's bias
    stays as it is.
    """

    clean_passes: int
    batch: int
    lr: float
    alpha: float
    temperature: float
    loss: Loss
    bn: Norm
    mask_bias: bool


class Step(NamedTuple):
    """A gradient step of the target of that number on the failing inputs at `rows` of their split.

    cleans: at the output, with labels alone; opens: the first of a pass; judged: the state after it is a candidate.
    """

    target: int
    rows: Tensor
    cleans: bool
    opens: bool
    judged: bool


@dataclass(frozen=True)
class Plan:
    """The steps of an epoch; Lightning would take a list for a list of loaders."""

    steps: Sequence[Step]

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)


class ProbeRepair(Stage):
    """Repairs the targets' weights in `model`; after the fit it holds the state that is kept (see `Rule`).

    An epoch: one pass for each target in turn, by its probe, a measurement on validation, and `clean_passes` passes for
    each target in turn, measured as well. What enters the first target is computed once, what enters each once per
    pass. The probes stay as they are, and in eval mode.

    Attributes:
        candidates: the states measured.

    Args:
        model: a copy of the faulty model, and `structure` the structure of this copy.
        targets: in the order they are repaired.
        failing, passing: inputs with labels, the i-th of one goes with the i-th of the other; the longer is cut.
    """

    automatic_optimization = False

    def __init__(
        self,
        problem: Problem,
        model: nn.Module,
        structure: Structure,
        targets: Sequence[Target],
        *,
        failing: Split,
        passing: Split,
        epochs: int,
        updates: Updates,
        rule: Rule,
    ) -> None:
        super().__init__()
        self.model, self.structure, self.targets, self.updates = model, structure, list(targets), updates
        self.max_epochs, self.recipe, self._draws = epochs, problem.recipe, problem.stream("augmentation")
        self.before = right(problem.faulty, problem.validation)
        self.candidates = Candidates(rule, self.before.double().mean().item())
        self.pairs = min(len(failing), len(passing))

        # What runs before the first target never changes, unless BatchNorm does.
        order = {node: number for number, node in enumerate(structure.graph.nodes)}
        first = min((target.block for target in targets), key=lambda block: order[block.start])
        fixed = updates.bn == "frozen" and first.elements * len(problem.validation) <= CACHED
        self.base = first.start if fixed else inlet(structure)
        self.tail = segment(structure, self.base, outlet(structure))
        prefix = segment(structure, inlet(structure), self.base)
        self.inputs = failing
        self.failing, self.passing, self.validation = (
            _after(prefix, split) if fixed else split for split in (failing, passing, problem.validation)
        )
        self.routes = [self._route(target) for target in self.targets]

    def _route(self, target: Target) -> tuple[nn.Module, nn.Module]:
        """From what enters the first target to what enters this one, and from there to the logits of the loss."""
        block = target.block
        cached = self.updates.bn == "frozen" and 2 * self.pairs * block.elements <= CACHED
        start = block.start if cached else self.base
        if self.updates.loss == "output":
            readout: nn.Module = segment(self.structure, start, outlet(self.structure))
        else:
            readout = nn.Sequential(segment(self.structure, start, block.end), target.probe)
        return segment(self.structure, self.base, start), readout

    def train_dataloader(self) -> Plan:
        """The steps of an epoch."""
        steps = self._turn(torch.arange(self.pairs), cleans=False)
        cleaning = [self._turn(torch.arange(len(self.failing)), cleans=True) for _ in range(self.updates.clean_passes)]
        return Plan([*_judged(steps), *_judged([step for turn in cleaning for step in turn])])

    def _turn(self, rows: Tensor, cleans: bool) -> list[Step]:
        """A pass over these rows for each target in turn."""
        return [
            Step(number, part, cleans, opens=not place, judged=False)
            for number in range(len(self.targets))
            for place, part in enumerate(rows.split(self.updates.batch))
        ]

    def configure_optimizers(self) -> None:
        """A step moves its target's weights alone."""

    def on_fit_start(self) -> None:
        """Nothing is in train mode but, with bn=train, what a step runs."""
        self.eval()

    def training_step(self, step: Step, batch_idx: int) -> None:
        self.steps_taken += 1
        target = self.targets[step.target]
        layer = self.model.get_submodule(target.block.layer)
        weight, bias = layer.get_parameter("weight"), layer.bias
        moved = [weight] if bias is None or self.updates.mask_bias else [weight, layer.get_parameter("bias")]
        with torch.enable_grad():
            slopes = torch.autograd.grad(self._output_loss(step) if step.cleans else self._probe_loss(step), moved)
        with torch.no_grad():
            for parameter, slope in zip(moved, slopes, strict=True):
                masked = slope.masked_fill(~target.mask, 0) if parameter is weight else slope
                parameter.sub_(self.updates.lr * masked)
        if step.judged:
            self._judge()

    def _probe_loss(self, step: Step) -> Tensor:
        """alpha * cross-entropy + (1 - alpha) * distillation of the present answers on the passing inputs."""
        before, readout = self.routes[step.target]
        if step.opens:
            rows = torch.arange(self.pairs)
            self._entering = [_after(before, split.subset(rows)) for split in (self.failing, self.passing)]
        failing, passing = (split.fetch(step.rows) for split in self._entering)
        logits = self._run(readout, failing)
        loss = self.updates.alpha * functional.cross_entropy(logits, failing.labels)
        if self.updates.alpha == 1:
            return loss
        with torch.no_grad():
            answers = self._run(readout, passing)
        return loss + (1 - self.updates.alpha) * distillation(logits, answers, self.updates.temperature)

    def _output_loss(self, step: Step) -> Tensor:
        """Cross-entropy at the output, of inputs under the recipe's random transform."""
        network: nn.Module = self.tail
        if self.recipe.transform is None:
            batch = self.failing.fetch(step.rows)
        else:
            network, batch = self.model, self.inputs.fetch(step.rows)
            batch = batch._replace(inputs=self.recipe.augmented(batch.inputs, self._draws))
        return functional.cross_entropy(self._run(network, batch), batch.labels)

    def _run(self, network: nn.Module, batch: Batch) -> Tensor:
        """Logits of a batch; BatchNorm cannot be trained on one input."""
        if self.updates.bn == "frozen" or len(batch.labels) == 1:
            logits: Tensor = network(batch.inputs)
            return logits
        network.train()
        for target in self.targets:
            target.probe.eval()
        logits = network(batch.inputs)
        network.eval()
        return logits

    def _judge(self) -> None:
        flips = flips_of(self.before, self.tail, self.validation)
        self.record(flips.log(), self.steps_taken)
        if self.candidates.offer(flips, self.model):
            self.trainer.should_stop = True

    def on_fit_end(self) -> None:
        self.candidates.restore(self.model)
        self.eval()


def distillation(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Mean over the rows of the cross-entropy between softmax(targets / T) and softmax(logits / T), both [B, C]."""
    return functional.cross_entropy(logits / temperature, (targets / temperature).softmax(1))


def _judged(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps, with the last one judged."""
    for place, step in enumerate(steps):
        yield step._replace(judged=place == len(steps) - 1)


def _after(prefix: nn.Module, split: Split) -> Split:
    """The split as it leaves `prefix`."""
    return Split(split.name, activations(prefix, split), split.labels)
