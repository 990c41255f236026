"""Editable Training: trains a network so that a few gradient steps correct one input and leave the others alone.

A. Sinitsin, V. Plokhotnyuk, D. Pyrkin, S. Popov, A. Babenko: Editable Neural Networks, ICLR 2020 (arXiv 2004.00345).
We had its abstract and introduction; the algorithm is that of the authors' code (github.com/xtinkt/editable).
Level: model. Needs: operations that can be differentiated twice, training inputs, failing repair inputs.
As a repair: the faulty model is fine-tuned this way (phase 1), then its failing repair inputs are edited (phase 2).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, validate_call
from torch import nn

from study.errors import NotApplicable
from study.methods.model_level.finetune import Data
from study.parts.network.edit_scope import Scope
from study.parts.training.editing import Editing
from study.parts.training.editor import EditorSettings
from study.parts.training.editor_training import EditorTraining, Objective
from study.problem.problem import Problem, TaskSpec
from study.repair.approach import Approach, Level, Log, Seconds, Stage

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class EditableTraining(Approach):
    """Hyperparameters: see conf/method/editable_training.yaml."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "Sinitsin et al., Editable Neural Networks, ICLR 2020"

    @validate_call
    def __init__(
        self,
        *,
        data: Data = "train",
        epochs: Annotated[int, Field(ge=0, le=10_000)] = 14,
        schedule: Literal["constant", "cosine"] = "cosine",
        lr: Annotated[float, Field(gt=0, le=10)] | Literal["auto"] = "auto",
        batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto",
        edit_scope: Scope = "auto",
        edit_steps: Annotated[int, Field(ge=0)] = 5,
        alpha: Annotated[float, Field(gt=0)] = 1e-3,
        beta: Share = 0.5,
        first_order: bool = False,
        c_edit: Weight = 0.01,
        c_loc: Weight = 0.01,
        p_repair: Share = 0.0,
        grad_clip: Annotated[float, Field(gt=0)] = 10.0,
        n_probe: Annotated[int, Field(ge=1)] = 20,
        patience: Annotated[int, Field(ge=1)] | None = None,
        phase2: Literal["sequential", "joint", "none"] = "sequential",
        tol: Share = 0.0,
        max_seconds: Seconds = None,
    ) -> None:
        super().__init__(max_seconds=max_seconds)
        self.settings = EditorSettings(edit_scope, edit_steps, alpha, second_order=not first_order)
        self.beta, self.phase2, self.tol = beta, phase2, tol
        self.objective = Objective(c_edit, c_loc, p_repair, grad_clip)
        self.n_probe, self.patience = n_probe, patience
        self.tuning = {"data": data, "epochs": epochs, "schedule": schedule, "lr": lr, "batch_size": batch_size}
        self._training: EditorTraining | None = None
        self._editing: Editing | None = None

    def check(self, task: TaskSpec) -> None:
        """One edit step with graph, and its derivative."""
        example = torch.linspace(0, 1, math.prod(task.input_shape)).reshape(1, *task.input_shape)
        example = example.long() if task.kind == "tokens" else example
        decay = torch.tensor(self.beta, requires_grad=True)
        try:
            editor = self.settings.editor(copy.deepcopy(task.model), example, decay)
            editor.steps, editor.margin = 1, 1.0  # with a margin there is a loss, hence a step, whatever it predicts
            edit = editor.edit(editor.features(example), torch.zeros(1, dtype=torch.int64), graph=True)
            edit.loss.backward()  # unlike torch.autograd.grad, this runs every node
        except RuntimeError as error:
            name = type(task.model).__name__
            raise NotApplicable(f"needs a network that can be differentiated twice: {name} cannot ({error})") from error

    def stages(self, problem: Problem) -> Iterator[Stage]:
        self._training = EditorTraining(
            self.settings,
            self.objective,
            beta=self.beta,
            n_probe=self.n_probe,
            patience=self.patience,
            max_seconds=self.max_seconds,
            **self.tuning,
        )
        yield self._training
        self._result, beta = self._training.trained()
        if self.phase2 != "none":
            self._editing = Editing(self._result, self.settings, beta, self.phase2, self.tol)
            yield self._editing
            self._result = self._editing.repaired()

    def repaired(self) -> nn.Module:
        return self._result.eval()

    def costs(self) -> Log:
        phases = [phase for phase in (self._training, self._editing) if phase is not None]
        return {name: value for phase in phases for name, value in phase.costs().items()}

    def pictures(self) -> Mapping[str, Any]:
        return self._training.pictures() if self._training else {}
