"""Editable Training: trains a network so that a few gradient steps correct one input and leave the others alone.

A. Sinitsin, V. Plokhotnyuk, D. Pyrkin, S. Popov, A. Babenko: Editable Neural Networks, ICLR 2020 (arXiv 2004.00345).
We had its abstract and introduction; the algorithm is that of the authors' code (github.com/xtinkt/editable).
Level: model. Needs: operations that can be differentiated twice, training inputs, failing repair inputs.
As a repair: the faulty model is fine-tuned this way (phase 1), then its failing repair inputs are edited (phase 2).
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from study.errors import NotApplicable
from study.parts.network.edit_scope import Scope
from study.parts.pictures.editability import draw_evaluations
from study.parts.training.edit_probes import Guard, guard_subset
from study.parts.training.editing import GUARD_SIZE, guarded_edits
from study.parts.training.editor import EditorSettings
from study.parts.training.editor_training import EditorTraining, Objective
from study.parts.training.fine_tuning import Data, training_data
from study.parts.training.schedule import Schedule
from study.problem.problem import Problem
from study.problem.recipe import Auto
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.settings import settings

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


@settings
class EditableTraining(Approach):
    """Hyperparameters: see conf/method/editable_training.yaml."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "Sinitsin et al., Editable Neural Networks, ICLR 2020"

    data: Data = "train"
    epochs: Annotated[int, Field(ge=0, le=10_000)] = 14
    schedule: Schedule = "cosine"
    lr: Annotated[float, Field(gt=0, le=10)] | Auto = "auto"
    batch_size: Annotated[int, Field(ge=1)] | Auto = "auto"
    edit_scope: Scope = "auto"
    edit_steps: Annotated[int, Field(ge=0)] = 5
    alpha: Annotated[float, Field(gt=0)] = 1e-3
    beta: Share = 0.5
    first_order: bool = False
    c_edit: Weight = 0.01
    c_loc: Weight = 0.01
    p_repair: Share = 0.0
    grad_clip: Annotated[float, Field(gt=0)] = 10.0
    n_probe: Annotated[int, Field(ge=1)] = 20
    patience: Annotated[int, Field(ge=1)] | None = None
    phase2: Literal["sequential", "joint", "none"] = "sequential"
    tol: Share = 0.0

    @property
    def editor_settings(self) -> EditorSettings:
        """How both phases edit."""
        return EditorSettings(self.edit_scope, self.edit_steps, self.alpha, second_order=not self.first_order)

    def check(self, task: TaskSpec) -> None:
        """One edit step with graph, and its derivative."""
        # With a margin there is a loss, hence a step, whatever the network predicts.
        settings = dataclasses.replace(self.editor_settings, steps=1, margin=1.0)
        example, decay = task.example(1), torch.tensor(self.beta, requires_grad=True)
        try:
            editor = settings.editor(copy.deepcopy(task.model), example, decay)
            edit = editor.edit(editor.features(example), torch.zeros(1, dtype=torch.int64), graph=True)
            edit.loss.backward()  # unlike torch.autograd.grad, this runs every node
        except RuntimeError as error:
            message = f"needs a network that can be differentiated twice: {task.name} cannot ({error})"
            raise NotApplicable(message) from error

    def repair(self, problem: Problem) -> Repair:
        training = EditorTraining(
            problem,
            problem.copy(),
            training_data(problem, self.data),
            settings=self.editor_settings,
            objective=Objective(self.c_edit, self.c_loc, self.p_repair, self.grad_clip),
            beta=self.beta,
            n_probe=self.n_probe,
            patience=self.patience,
            max_seconds=self.max_seconds,
            epochs=self.epochs,
            schedule=self.schedule,
            lr=self.lr,
            batch_size=self.batch_size,
        )
        yield training  # phase 1
        model, decay, costs = training.model, training.remove_decay(), training.costs()
        if self.phase2 != "none":
            failing = problem.repair_set.subset(problem.failing)
            editor = self.editor_settings.editor(model, failing.fetch(torch.tensor([0])).inputs, decay)
            guard = Guard.of(editor, guard_subset(problem.validation, GUARD_SIZE, problem.stream("guard")))
            counts = yield from guarded_edits(editor, failing, guard, mode=self.phase2, tol=self.tol)
            costs |= counts.costs()
        return Repaired(model, costs, lambda: draw_evaluations(training.evaluations, training.chosen))
