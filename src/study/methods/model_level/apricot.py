"""Apricot: rounds of shifting the weights towards those of sub-models that are right, and of retraining (model level).

H. Zhang, W. K. Chan: Apricot: A Weight-Adaptation Approach to Fixing Deep Learning Models, ASE 2019; what its abstract
leaves open as in coinse/arachne. Needs: trainable parameters; with `sub_init: scratch` a network that can be made anew.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import nn

from study.data.split import Batch, Split
from study.errors import NotApplicable, RepairFailed
from study.parts.pictures.standings import draw_standings
from study.parts.selection.shuffled import shuffled
from study.parts.training.retraining import Retraining
from study.parts.training.schedule import Schedule
from study.parts.training.shifts import Shifted, by_fate, shift_costs
from study.parts.training.submodels import Start, SubModels, SubModelTraining
from study.parts.training.weight_shift import Strategy, divided, flat_weights, shift_for, write_weights
from study.problem.prediction import right
from study.problem.problem import Problem
from study.problem.recipe import Auto
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.best_state import BestState
from study.runtime.settings import settings

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=10)]


@settings
class Apricot(Approach):
    """Keeps the weights that are best on validation. Each hyperparameter is explained in conf/method/apricot.yaml."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "Zhang, Chan: Apricot, ASE 2019"

    num_sub: Count = 5
    per_class: Count | Auto = "auto"
    sub_epochs: Count | Auto = "auto"
    sub_lr: Rate = 1e-3
    sub_init: Start = "scratch"
    strategy: Strategy = "both"
    direction: Literal["paper", "reference"] = "paper"
    eta: Annotated[float, Field(ge=0)] = 1e-3
    failing_source: Literal["train", "repair", "train_and_repair"] = "train_and_repair"
    fix_batch: Count = 100
    retrain_epochs: CountOrZero = 1
    retrain_batch: Count | Auto = "auto"
    retrain_lr: Rate | Auto = "auto"
    schedule: Schedule = "cosine"
    rollback: bool = False
    max_rounds: CountOrZero = 30
    patience: CountOrZero = 10
    max_steps: Count = 20_000

    def check(self, task: TaskSpec) -> None:
        if not any(parameter.requires_grad for parameter in task.model.parameters()):
            raise NotApplicable(f"needs trainable parameters: {task.name} has none")

    def repair(self, problem: Problem) -> Repair:
        training = self.submodel_training(problem)
        yield training
        model = problem.copy()
        batches = self.candidates(problem).batches(self.fix_batch)
        retraining = self.retraining(problem, model, rounds=len(batches))
        standing = best_standing = retraining.measure(model)
        standings, shifts = [(0, standing)], list[Shifted]()
        best, best_round, rounds = BestState(), 0, 0
        best.offer(standing.validation_accuracy, model)
        for rounds, batch in enumerate(batches, 1):
            inputs = self.shift(model, training.submodels, batch)
            before, standing = standing, retraining.measure(model) if inputs else standing
            improved = best.offer(standing.validation_accuracy, model)  # step 7
            if inputs:
                kept = improved or not self.rollback
                shifts.append(Shifted(retraining.steps_taken, inputs, before, standing, kept))
                yield shifts[-1].log()
            if improved:
                best_standing, best_round = standing, rounds
            elif self.rollback:
                best.restore(model)
                standing = best_standing
            if rounds > best_round + self.patience:
                break
            if self.retrain_epochs:  # steps 8 and 9
                yield retraining
                standing = retraining.standing
                standings.append((retraining.steps_taken, standing))
                if best.offer(standing.validation_accuracy, model):
                    best_standing, best_round = standing, rounds
                if retraining.has_ended:
                    break
        steps, sub_steps = retraining.steps_taken, training.steps_taken
        costs = {"steps": steps, "sub_steps": sub_steps, "rounds": rounds, **shift_costs(shifts)}
        if len(batches) and not best_round:
            raise RepairFailed("no round beats the faulty model's validation accuracy", **costs)
        best.restore(model)
        return Repaired(model, costs, lambda: {"progress": draw_standings(standings, by_fate(shifts))})

    def submodel_training(self, problem: Problem) -> SubModelTraining:
        """Steps 1 and 2; raises NotApplicable where the architecture is needed and not known."""
        if self.sub_init == "scratch" and problem.make_model is None:
            reason = "trains sub-models from scratch, and this architecture cannot be initialised anew"
            raise NotApplicable(f"{reason}: set method.sub_init=faulty")
        return SubModelTraining(
            problem,
            number=self.num_sub,
            per_class=self.per_class,
            epochs=self.sub_epochs,
            lr=self.sub_lr,
            start=self.sub_init,
        )

    def candidates(self, problem: Problem) -> Split:
        """Step 4: the inputs of all rounds; of two splits each second one is of the repair split."""
        splits = {"repair": [problem.repair_set], "train": [problem.train]}
        chosen = splits.get(self.failing_source, [problem.repair_set, problem.train])
        return shuffled("candidates", chosen, self.max_rounds * self.fix_batch, problem.stream("candidates"))

    def retraining(self, problem: Problem, model: nn.Module, rounds: int) -> Retraining:
        """Step 8 of all rounds."""
        return Retraining(
            problem,
            model,
            rounds=rounds,
            epochs=self.retrain_epochs,
            max_steps=self.max_steps,
            schedule=self.schedule,
            lr=self.retrain_lr,
            batch_size=self.retrain_batch,
        )

    def shift(self, model: nn.Module, submodels: SubModels, batch: Batch) -> int:
        """Steps 5 and 6; returns how many inputs shift the weights. None is predicted after one of them has."""
        candidates = Split("candidates", batch.inputs, batch.labels)
        failing = candidates.subset((~right(model, candidates)).nonzero().flatten())
        if not len(failing):
            return 0
        rights = submodels.right(failing)
        if (count := int(divided(rights).sum())) and self.eta:
            shift = shift_for(rights, self.strategy, self.eta if self.direction == "paper" else -self.eta)
            write_weights(model, shift.of(flat_weights(model), submodels.weights))
        return count
