"""Phase 1 of Editable Training: fine-tuning with two more terms, which make the network one that is edited well."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from study.data.split import Batch
from study.errors import RepairFailed
from study.methods.model_level.finetune import Finetune
from study.parts.pictures.progress import Measure, Panel, Standing, drawn
from study.parts.training.edit_probes import PROBED, Editability, Probes, guard_subset
from study.parts.training.editor import Editor, EditorSettings, in_eval_mode
from study.problem.problem import Problem
from study.repair.approach import Log

TIMED_STEPS = 20
"""Steps after which the time that phase 1 takes is foretold."""
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


class EditorTraining(Finetune):
    """Phase 1: fine-tuning whose loss has two more terms, computed on an edited copy of the weights.

    `tuning` goes to Finetune, whose batches, optimizer and rates these are: without the two terms this is Finetune.
    """

    def __init__(
        self,
        settings: EditorSettings,
        objective: Objective,
        *,
        beta: float,
        n_probe: int,
        patience: int | None,
        **tuning: Any,
    ) -> None:
        super().__init__(select="validation", **tuning)
        self.settings, self.objective, self.beta = settings, objective, beta
        self.n_probe, self.patience = n_probe, patience
        self.evaluations: list[Evaluation] = []
        self.chosen: Evaluation | None = None

    def begin(self, problem: Problem) -> None:
        super().begin(problem)
        beta = nn.Parameter(torch.tensor(self.beta, device=problem.device))
        self.editor = self.settings.editor(self.model, problem.train.fetch(torch.tensor([0])).inputs, beta)
        # Step 3: trained and kept with the weights, as one of the network's parameters.
        self.model.register_parameter(DECAY, beta)
        guard = guard_subset(problem.validation, PROBED, problem.stream("guard"))
        classes, draws = problem.task.num_classes, problem.stream("probes")
        self._probes = Probes(problem.validation, guard, classes, self.n_probe, draws)
        self._requests = problem.stream("requests")
        self._measure = Measure(problem)
        self._unimproved = 0

    def loss(self, batch: Batch) -> Tensor:
        """Steps 4 to 8: L_base + c_loc * L_loc + c_edit * l_e."""
        if not self.objective.edits:
            return super().loss(batch)
        inputs = self.problem.recipe.augmented(batch.inputs, self._draws)
        logits = self.model(inputs)
        base = functional.cross_entropy(logits, batch.labels)
        with in_eval_mode(self.model):
            return base + self.objective.terms(self.editor, self.request(), inputs, logits.detach().softmax(1))

    def request(self) -> Batch:
        """Step 5: a training input and any class; with probability `p_repair` a failing repair input and its own."""
        problem, draws = self.problem, self._requests
        if self.objective.p_repair and torch.rand((), generator=draws) < self.objective.p_repair:
            return problem.repair_set.fetch(problem.failing[torch.randint(len(problem.failing), (1,), generator=draws)])
        drawn = problem.train.fetch(torch.randint(len(problem.train), (1,), generator=draws))
        return drawn._replace(labels=torch.randint(problem.task.num_classes, (1,), generator=draws).to(drawn.labels))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Step 9: second derivatives may be large."""
        if self.objective.edits:
            clip_grad_norm_(self.model.parameters(), self.objective.grad_clip)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self._last_loss = loss.detach()
        return loss

    def select(self, epoch: int) -> float:
        """Step 10: the least validation error is kept, ties: the lower drawdown."""
        if not self._last_loss.isfinite():
            raise RepairFailed("the loss is no longer finite")
        earlier, now = list(self.evaluations), self.evaluate()
        self._unimproved += 1
        if now.accuracy > max(e.accuracy for e in earlier) or now.drawdown < min(e.drawdown for e in earlier):
            self._unimproved = 0
        if self._unimproved == self.patience:
            self.trainer.should_stop = True
        score = now.accuracy * len(self.problem.validation) - now.drawdown / 2
        if self._best is None or score > self._best[0]:
            self.chosen = now
        return score

    def evaluate(self) -> Evaluation:
        """What the network has learnt and forgotten by now, and how well it can be edited."""
        standing = self._measure(self.model)
        with in_eval_mode(self.model):
            editability = self._probes.measure(self.editor)
        self.evaluations.append(Evaluation(self._taken, standing, editability))
        self.record(self.evaluations[-1].log(), self._taken)
        return self.evaluations[-1]

    def on_train_start(self) -> None:
        self.evaluate()
        self._started = time.perf_counter()

    def on_train_batch_end(self, *arguments: Any) -> None:
        """Says early that time will not suffice."""
        super().on_train_batch_end(*arguments)
        if self._taken == TIMED_STEPS and self.max_seconds is not None:
            expected = (time.perf_counter() - self._started) / TIMED_STEPS * self.passes * len(self.batches())
            if expected > self.max_seconds:
                warning = "phase 1 will take some %.0f s, over method.max_seconds=%g"
                logging.getLogger(__name__).warning(warning, expected, self.max_seconds)

    def trained(self) -> tuple[nn.Module, Tensor]:
        """The network of the epoch that is kept, and its beta."""
        model = self.repaired()
        beta: Tensor = model.get_parameter(DECAY).detach()
        delattr(model, DECAY)
        return model, beta

    def costs(self) -> Log:
        costs = dict(super().costs())
        moments = {"before": self.evaluations[0] if self.evaluations else None, "after": self.chosen}
        for moment, evaluation in moments.items():
            if evaluation is not None:
                costs[f"success_{moment}"] = evaluation.editability.success
                costs[f"drawdown_{moment}"] = evaluation.drawdown
        return costs

    def pictures(self) -> Mapping[str, Any]:
        if self.chosen is None:
            return {}
        logs = [(evaluation.step, evaluation.log()) for evaluation in self.evaluations]
        kept, values = self.chosen.step, self.chosen.log()

        def panel(name: str, title: str) -> Panel:
            return Panel(title, [(step, log[name]) for step, log in logs], {"kept": [(kept, values[name])]})

        repairs = panel("repair_set/repair_rate", "repair rate (repair split)")
        flips = panel("validation/negative_flip_rate", "negative flips (validation)")
        progress = [repairs, flips, panel("validation/accuracy", "accuracy (validation)")]
        edits = [panel("edit/success", "random edits that succeed"), panel("edit/drawdown", "accuracy that one costs")]
        return {"progress": drawn(progress), "editability": drawn(edits)}


@dataclass(frozen=True)
class Evaluation:
    """The network after so many gradient steps."""

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
