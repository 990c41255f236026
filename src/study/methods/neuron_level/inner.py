"""INNER: probes find the blocks that go wrong, routing their weights, and masked fine-tuning repairs these.

Z. Chen, J. Zhou, Y. Sun, J. Wang, Q. Xuan, X. Yang, "Interpretability Based Neural Network Repair", ISSTA 2024. Written
from the abstract and the authors' code (implicitDeclaration/inner). Level: neuron, which here is a single weight.
Needs: a traceable network with two blocks before its classifier, failing and passing repair inputs.
Unlike the code: eval mode throughout (see `bn`), also where a probe's best epoch is measured; clean inputs from the
training and the repair split, not the test split; the clean-up under the subject's own augmentation; a vote needs a
gate above the mean by more than rounding; the weights with the most votes, not with any; the best state, not the last.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from study.errors import RepairFailed
from study.parts.localisation.anomaly import anomaly_scores, most_anomalous
from study.parts.localisation.routing import Routing, random_mask, voted
from study.parts.network.blocks import blocks_of, readings
from study.parts.network.structure import Structure
from study.parts.pictures.routing import draw_routing
from study.parts.selection.random_subset import random_subset
from study.parts.training.probe_repair import Loss, Norm, ProbeRepair, Target, Updates
from study.parts.training.probes import ProbeTraining, probe_answers
from study.parts.training.validation_flips import Rule, Select
from study.problem.problem import Problem
from study.problem.recipe import Auto
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.settings import settings

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=10)]
Share = Annotated[float, Field(ge=0, le=1)]
SCORED = 30
"""Inputs of either kind by which a block's anomaly is measured, at most."""


@settings
class Inner(Approach):
    """Each hyperparameter is explained in conf/method/inner.yaml."""

    level: ClassVar[Level] = "neuron"
    source: ClassVar[str] = "Chen et al.: Interpretability Based Neural Network Repair, ISSTA 2024"

    n_layers: Count | Auto = "auto"
    blocks: Literal["anomaly", "random"] = "anomaly"
    probe_inputs: Annotated[int, Field(ge=2)] = 1000
    probe_epochs: CountOrZero = 50
    probe_lr: Rate = 0.01
    routing: Literal["gates", "random"] = "gates"
    route_inputs: Count = 100
    route_iters: CountOrZero = 40
    route_lr: Annotated[float, Field(ge=0)] = 0.009
    route_l1: Annotated[float, Field(ge=0)] = 0.005
    keep: Literal["votes", "top_ratio"] = "top_ratio"
    top_ratio: Annotated[float, Field(gt=0, le=1)] = 0.3
    loss: Loss = "probe"
    alpha: Share = 0.8
    temperature: Rate = 3.0
    lr: Rate = 0.0007
    batch_size: Count = 64
    epochs: CountOrZero = 20
    clean_passes: CountOrZero = 2
    mask_bias: bool = False
    bn: Norm = "frozen"
    stop_acc_drop: Share = 0.1
    stop_fail: Share = 0.15
    select: Select = "score"
    beta: Annotated[float, Field(ge=0)] = 1.0
    guard: bool = False

    def check(self, task: TaskSpec) -> None:
        blocks_of(Structure(task.model), task.example(2))

    def repair(self, problem: Problem) -> Repair:
        if not len(problem.passing):
            raise RepairFailed("the model is right on no repair input", evaluations=0)
        generator, model = problem.stream("search"), problem.copy()
        structure, count = Structure(model), len(problem.failing)
        failing = random_subset(problem.repair_set, count, generator, within=problem.failing)
        passing = random_subset(problem.repair_set, count, generator, within=problem.passing)
        blocks = blocks_of(structure, failing.fetch(torch.tensor([0])).inputs)  # step 1
        clean = random_subset(problem.train, self.probe_inputs, generator)
        training = ProbeTraining(  # step 2
            readings(structure, blocks, clean),
            clean.labels,
            [block.early for block in blocks],
            num_classes=problem.task.num_classes,
            epochs=self.probe_epochs,
            lr=self.probe_lr,
            seed=problem.seed_of("probes"),
        )
        yield training

        # Step 3: the blocks whose probes answer most differently on failing inputs.
        measured = (split.subset(torch.arange(min(SCORED, len(split)))) for split in (passing, failing))
        scores = anomaly_scores(*(probe_answers(structure, blocks, training.probes, split) for split in measured))
        if not bool(scores.isfinite().all()):
            raise RepairFailed("the probes' answers are not finite", evaluations=0)
        number = min(3, len(blocks) // 2) if self.n_layers == "auto" else min(self.n_layers, len(blocks))
        chosen = most_anomalous(scores, number)
        if self.blocks == "random":
            chosen = torch.randperm(len(blocks), generator=generator)[:number].tolist()

        # Step 4: their weights that the wrong answers need.
        routing = Routing(self.route_iters, self.route_lr, self.route_l1)
        routed = failing.subset(torch.arange(min(self.route_inputs, count)))
        votes = {blocks[n].layer: routing.votes_in(structure, blocks[n], training.probes[n], routed) for n in chosen}
        masks = {name: voted(of, self.top_ratio if self.keep == "top_ratio" else None) for name, of in votes.items()}
        if self.routing == "random":
            masks = {layer: random_mask(mask, generator) for layer, mask in masks.items()}
        weights = sum(int(mask.sum()) for mask in masks.values())
        anomalies = {f"anomaly/{block.layer}": score for block, score in zip(blocks, scores, strict=True)}
        yield {"search/places": weights, **anomalies}
        if not weights:
            raise RepairFailed("routing gives no weight a vote", evaluations=0)

        # Steps 5 and 6: masked fine-tuning, and which of its states to keep.
        targets = [Target(blocks[n], masks[blocks[n].layer], training.probes[n]) for n in chosen]
        repair = ProbeRepair(
            problem,
            model,
            structure,
            targets,
            failing=failing,
            passing=passing,
            epochs=self.epochs,
            updates=Updates(
                clean_passes=self.clean_passes,
                batch=self.batch_size,
                lr=self.lr,
                alpha=self.alpha,
                temperature=self.temperature,
                loss=self.loss,
                bn=self.bn,
                mask_bias=self.mask_bias,
            ),
            rule=Rule(self.select, self.beta, self.stop_acc_drop, self.stop_fail, self.guard),
        )
        if self.epochs:
            yield repair
        costs = {"evaluations": len(repair.candidates.flips), "places": weights}
        if self.epochs and repair.candidates.kept is None:
            raise RepairFailed("no state keeps the faulty model's validation accuracy", **costs)
        return Repaired(model, costs, lambda: draw_routing(model, votes, masks, repair.candidates))
