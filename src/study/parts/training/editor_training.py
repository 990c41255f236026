"""Phase 1 of Editable Training: fine-tuning with two more terms, which make the network one that is edited well."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from study.data.split import Batch, Split
from study.errors import RepairFailed
from study.parts.training.edit_probes import PROBE_GUARD_SIZE, Editability, Probes, guard_subset
from study.parts.training.editor import Editor, EditorSettings, in_eval_mode
from study.parts.training.fine_tuning import FineTuning
from study.parts.training.patience import Patience
from study.parts.training.standing import Measure, Standing
from study.problem.problem import Problem

TIMED_STEPS = 20
"""Gradient steps from which the duration of phase 1 is estimated."""
DECAY = "editor_decay"
"""Name of beta among the network's parameters during phase 1."""


@dataclass(frozen=True)
class Objective:
    """What phase 1 adds to fine-tuning, step by step: see conf/method/editable_training.yaml."""

    c_edit: float
    c_loc: float
    p_repair: float
    grad_clip: float

    @property
    def edits(self) -> bool:
        """Whether it adds anything."""
        return self.c_edit > 0 or self.c_loc > 0

    def terms(self, editor: Editor, request: Batch, inputs: Tensor, unedited: Tensor) -> Tensor:
        """Steps 6 to 8: c_edit * l_e + c_loc * L_loc, with `unedited` [B, C] = softmax(z) on `inputs` [B, ...]."""
        edit = editor.edit(editor.features(request.inputs), request.labels, graph=True)
        terms = self.c_edit * edit.loss
        if self.c_loc > 0:
            edited = editor.logits(editor.features(inputs), edit.weights)
            terms = terms + self.c_loc * functional.cross_entropy(edited, unedited)
        return terms


class EditorTraining(FineTuning):
    """Phase 1: fine-tuning whose loss has two more terms, computed on an edited copy of the weights.

    Keeps the epoch with the lowest validation error, of equal ones that with the lowest drawdown. Without the two terms
    this is FineTuning, which takes `options`.

    Args:
        settings: of the editor; beta: its decay at the start, trained with the network, whose parameter it is until
            `remove_decay`.
        n_probe: random edits by which success rate and drawdown are measured after each epoch.
        patience: epochs in which neither validation error nor drawdown improves until it stops; None: never.
        max_seconds: time budget of the repair; a training that will take longer warns.
    """

    def __init__(
        self,
        problem: Problem,
        model: nn.Module,
        data: Split,
        *,
        settings: EditorSettings,
        objective: Objective,
        beta: float,
        n_probe: int,
        patience: int | None = None,
        max_seconds: float | None = None,
        **options: Any,
    ) -> None:
        decay = nn.Parameter(torch.tensor(beta, device=problem.device))
        editor = settings.editor(model, problem.train.fetch(torch.tensor([0])).inputs, decay)
        # Step 3: trained and kept with the weights, as one of the network's parameters.
        model.register_parameter(DECAY, decay)
        super().__init__(problem, model, data, keep="validation", **options)
        self.problem, self.editor, self.objective, self.max_seconds = problem, editor, objective, max_seconds
        guard = guard_subset(problem.validation, PROBE_GUARD_SIZE, problem.stream("guard"))
        self.probes = Probes(problem.validation, guard, problem.task.num_classes, n_probe, problem.stream("probes"))
        self.requests = problem.stream("requests")
        self.measure = Measure(problem)
        self.error_patience, self.drawdown_patience = Patience(patience), Patience(patience)
        self.evaluations: list[Evaluation] = []

    def loss(self, batch: Batch) -> Tensor:
        """Steps 4 to 8: L_base + c_loc * L_loc + c_edit * l_e."""
        if not self.objective.edits:
            return super().loss(batch)
        inputs = self.augmented(batch.inputs)
        logits = self.model(inputs)
        base = functional.cross_entropy(logits, batch.labels)
        with in_eval_mode(self.model):
            return base + self.objective.terms(self.editor, self.request(), inputs, logits.detach().softmax(1))

    def request(self) -> Batch:
        """Step 5: a training input and any class; with probability `p_repair` a failing repair input and its own."""
        problem, draws = self.problem, self.requests
        if self.objective.p_repair and torch.rand((), generator=draws) < self.objective.p_repair:
            return problem.repair_set.fetch(problem.failing[torch.randint(len(problem.failing), (1,), generator=draws)])
        item = problem.train.fetch(torch.randint(len(problem.train), (1,), generator=draws))
        return item._replace(labels=torch.randint(problem.task.num_classes, (1,), generator=draws).to(item.labels))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Step 9: second derivatives may be large."""
        if self.objective.edits:
            clip_grad_norm_(self.model.parameters(), self.objective.grad_clip)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self._last_loss = loss.detach()
        return loss

    def score(self) -> float:
        """Step 10: the lowest validation error is kept, ties: the lower drawdown."""
        if not self._last_loss.isfinite():
            raise RepairFailed("the loss is no longer finite", **self.costs())
        return self._score_of(self.evaluate())

    def _score_of(self, evaluation: Evaluation) -> float:
        """Number of correct validation inputs, less something below 1 that grows with the drawdown (in [-1, 1])."""
        return evaluation.accuracy * len(self.problem.validation) - evaluation.drawdown / 2

    @property
    def chosen(self) -> Evaluation | None:
        """That of the epoch that is kept; None before the end of the first."""
        return max(self.evaluations[1:], key=self._score_of, default=None)

    def evaluate(self) -> Evaluation:
        """Measure standing and editability; stop the training once both patiences have run out."""
        standing = self.measure(self.model)
        with in_eval_mode(self.model):
            editability = self.probes.measure(self.editor)
        evaluation = Evaluation(self.steps_taken, standing, editability)
        self.evaluations.append(evaluation)
        self.record(evaluation.log(), self.steps_taken)
        no_better = self.error_patience.runs_out(-evaluation.accuracy)
        if self.drawdown_patience.runs_out(evaluation.drawdown) and no_better:
            self.trainer.should_stop = True
        return evaluation

    def on_train_start(self) -> None:
        self.evaluate()
        self._started = time.perf_counter()

    def on_train_batch_end(self, *arguments: Any) -> None:
        """Warn with the estimated duration if it exceeds the time budget."""
        super().on_train_batch_end(*arguments)
        if self.steps_taken == TIMED_STEPS and self.max_seconds is not None:
            seconds = (time.perf_counter() - self._started) / TIMED_STEPS
            expected = seconds * float(self.trainer.estimated_stepping_batches)
            if expected > self.max_seconds:
                warning = "phase 1 will take some %.0f s, over method.max_seconds=%g"
                logging.getLogger(__name__).warning(warning, expected, self.max_seconds)

    def remove_decay(self) -> Tensor:
        """Take beta out of the network's parameters; its value in the epoch that is kept, a scalar."""
        decay = self.model.get_parameter(DECAY).detach()
        delattr(self.model, DECAY)
        return decay

    def costs(self) -> dict[str, float]:
        """Success rate and drawdown of edits before the first and in the chosen epoch, as far as there are any."""
        evaluations = {"before": next(iter(self.evaluations), None), "after": self.chosen}
        costs = {}
        for moment, evaluation in evaluations.items():
            if evaluation is not None:
                costs[f"success_{moment}"] = evaluation.editability.success
                costs[f"drawdown_{moment}"] = evaluation.drawdown
        return costs


@dataclass(frozen=True)
class Evaluation:
    """The network after `step` gradient steps."""

    step: int
    standing: Standing
    editability: Editability

    @property
    def accuracy(self) -> float:
        """On the validation split."""
        return self.standing.validation_accuracy

    @property
    def drawdown(self) -> float:
        """Of the probes."""
        return self.editability.drawdown

    def log(self) -> dict[str, float]:
        """Under the names of the curves."""
        return self.standing.log() | {f"edit/{name}": value for name, value in self.editability._asdict().items()}
