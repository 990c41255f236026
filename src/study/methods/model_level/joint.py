"""Joint repair: one short training that keeps every property at once (model level). Our own approach, not published.

One warm-up-and-cosine run on the training and the repair inputs repairs; half of each mini-batch again as adversarial
examples makes the network robust (of programs: half of it under other names of local variables), a hinge on the faulty
model's losses holds negative flips down, a balanced draw and an equalised-odds penalty serve fairness. Needs a network
with input gradients and inputs that may be attacked (else adv = 0), and the sensitive group of each input for the
fairness terms (else bal = fair = 0).
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from study.data.split import Split
from study.errors import NotApplicable, RepairFailed
from study.models.votes import UnanimousVote
from study.parts.augmentation.label_preserving import distortion_of, keeps_labels
from study.parts.search.guard import fall_of
from study.parts.training.fairness import balancing_weights
from study.parts.training.fine_tuning import training_data
from study.parts.training.free_adversarial import FreeAdversary
from study.parts.training.joint_training import JointTraining
from study.parts.training.loss_hinge import LossHinge
from study.parts.training.oversampling import Oversampled
from study.parts.training.schedule import has_batch_norm, over_steps, peak_rate, with_schedule
from study.problem.problem import Problem
from study.problem.recipe import Auto
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.settings import settings

Count = Annotated[int, Field(ge=0, le=10_000)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
SMALL = 10_000
"""Training and repair inputs below which `auto` stands for the values of small sets."""


@settings
class Joint(Approach):
    """Each value is explained in conf/method/joint.yaml; what `auto` stands for on a subject: see `resolved`."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "joint repair, this project"

    epochs: Count | Auto = "auto"
    lr: Annotated[float, Field(gt=0, le=10)] | Auto = "auto"
    batch_size: Annotated[int, Field(ge=1)] | Auto = "auto"
    extra_failing: Count | Auto = "auto"
    aug: Share | Auto = "auto"
    mirror: bool | Auto = "auto"
    hinge: Weight | Auto = "auto"
    hinge_live: bool | Auto = "auto"
    adv: Weight | Auto = "auto"
    adv_share: Share = 0.5
    epsilon: Annotated[float, Field(gt=0)] | Auto = "auto"
    bal: Weight | Auto = "auto"
    fair: Weight | Auto = "auto"
    runs: Annotated[int, Field(ge=1, le=100)] = 1

    def check(self, task: TaskSpec) -> None:
        asked_for = {name for name in ("adv", "fair", "aug") if getattr(self, name) not in ("auto", 0)}
        if "adv" in asked_for and task.threat is None:
            raise NotApplicable("adv > 0 needs inputs with a gradient and a known range: set method.adv=0")
        if "fair" in asked_for and not task.has_groups:
            raise NotApplicable("fair > 0 needs the sensitive group of each input, which this data set has not")
        if "aug" in asked_for and task.kind != "image" and not task.renamable:
            raise NotApplicable("aug > 0 distorts images or programs, and these inputs are none: set method.aug=0")

    def repair(self, problem: Problem) -> Repair:
        data = training_data(problem, "train_and_repair")
        settings = self.resolved(problem)
        weight, live = float(settings.hinge), bool(settings.hinge_live)
        hinge = LossHinge(problem.faulty, data, weight=weight, live=live) if weight > 0 else None
        models: list[nn.Module] = []
        for run in range(self.runs):
            training = settings.training(problem, data, hinge, run)
            yield training
            models.append(training.model)
        voting = self.runs > 1
        repaired = UnanimousVote.of(problem.copy(), models) if voting else models[0]
        costs = {"models": self.runs + voting}
        if fall := fall_of(problem, repaired):
            raise RepairFailed(f"validation accuracy fell: {fall}", **costs)
        return Repaired(repaired, costs)

    def training(self, problem: Problem, data: Split, hinge: LossHinge | None, run: int) -> JointTraining:
        """The training of one run on the training and repair inputs; no setting may be `auto`."""

        def stream(name: str) -> torch.Generator:
            return problem.stream(f"{name}/{run}" if run else name)

        model, epochs, bal, adv = problem.copy(), int(self.epochs), float(self.bal), float(self.adv)
        batches = Oversampled(
            data,
            int(self.batch_size),
            stream("batches"),
            weights=balancing_weights(data.labels, data.groups, bal) if bal > 0 else None,
            extra=int(self.extra_failing),
            extra_indices=len(problem.train) + problem.failing,
            extra_generator=stream("extra_failing"),
        )
        optimizer = torch.optim.Adam(model.parameters(), float(self.lr), fused=True)
        adversary = None
        if problem.task.threat is not None and adv > 0:
            threat = dataclasses.replace(problem.task.threat, radius=float(self.epsilon))
            adversary = FreeAdversary(weight=adv, share=self.adv_share, threat=threat)
        return JointTraining(
            model,
            batches,
            with_schedule(optimizer, over_steps(max(1, epochs * len(batches)))),
            max_epochs=epochs,
            validation=problem.validation,
            aug=float(self.aug),
            distortion=distortion_of(data, problem.task, bool(self.mirror), stream("distortion")),
            hinge=hinge,
            fair=float(self.fair),
            groups=2 if data.groups is None else max(2, int(data.groups.max()) + 1),
            adversary=adversary,
        )

    def resolved(self, problem: Problem) -> Joint:
        """The same approach without `auto`, save for the `epsilon` of inputs on which no attack is defined."""
        task, threat, normalised = problem.task, problem.task.threat, has_batch_norm(problem.faulty)
        small = len(problem.train) + len(problem.repair_set) < SMALL
        usual: dict[str, Any] = {
            "epochs": 20 if small or task.renamable else 10,
            "lr": peak_rate(problem.faulty),
            "batch_size": 64 if small else 128,
            "extra_failing": 2 if small else 4,
            "aug": (1.0 if small and normalised and task.input_shape[0] == 3 else 0.5) if keeps_labels(task) else 0.0,
            "mirror": problem.recipe.augmentation == "crop_flip",
            "hinge": 2.0 if task.kind == "table" else 1.0 if small else 0.5,
            "hinge_live": small,
            "adv": 0.0 if threat is None or normalised else 1.0 if task.kind == "table" else 2.0,
            "epsilon": threat.radius * 2 / 3 if threat is not None else "auto",
            "bal": 0.5 if task.has_groups else 0.0,
            "fair": 0.5 if task.has_groups else 0.0,
        }
        return dataclasses.replace(self, **{name: usual[name] for name in usual if getattr(self, name) == "auto"})
