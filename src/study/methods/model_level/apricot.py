"""Apricot: rounds of shifting the weights towards those of sub-models that are right, and of retraining.

H. Zhang, W. K. Chan: Apricot: A Weight-Adaptation Approach to Fixing Deep Learning Models, ASE 2019; what the paper's
abstract leaves open, as the re-implementation in coinse/arachne has it. Level: model. Needs: trainable parameters and,
with `sub_init: scratch`, an architecture that can be initialised anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field, validate_call
from torch import Tensor, nn

from study.data.split import Selected, Split, joined
from study.errors import NotApplicable, RepairFailed
from study.parts.pictures.progress import Measure, Panel, Point, Standing, drawn
from study.parts.training.continued import ContinuedTraining
from study.parts.training.submodels import Start, SubModelTraining
from study.parts.training.weight_shift import Strategy, divided, flat_weights, shift_for, write_weights
from study.problem.prediction import right
from study.problem.problem import Problem, TaskSpec
from study.repair.approach import Level, Log, Patching, Rounds, Seconds, Stage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=10)]
Source = Literal["train", "repair", "train_and_repair"]


class Apricot(Patching):
    """Trains sub-models, then shifts and retrains the faulty model; keeps the weights that are best on validation.

    Args:
        num_sub: sub-models (rDLMs).
        per_class: training inputs of each class that a sub-model is trained on; auto: a fifth, at most 1,000.
        sub_epochs, sub_lr, sub_init: their training; auto: 5 passes, and 200 steps at least; from `scratch` or from the
            `faulty` weights.
        strategy: shift towards the `correct` sub-models, away from the `incorrect` ones, or `both`.
        direction: `paper`, as just said; `reference`: the other way round, as the re-implementation does.
        eta: length of a shift; 0: continued training and nothing else, the control.
        failing_source: where inputs that the model gets wrong are looked for.
        fix_batch: inputs looked at in a round.
        retrain_epochs, retrain_batch, retrain_lr: of the retraining in a round.
        schedule: of the rate over all rounds; see parts/schedule.py.
        rollback: a shift that does not beat the best weights so far is undone by going back to these.
        max_rounds: rounds at most; 0: the model stays as it is.
        patience: rounds without improvement after which it ends.
        max_steps: gradient steps of retraining at most.
    """

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "Zhang, Chan: Apricot, ASE 2019"

    @validate_call
    def __init__(
        self,
        *,
        num_sub: Count = 5,
        per_class: Count | Literal["auto"] = "auto",
        sub_epochs: Count | Literal["auto"] = "auto",
        sub_lr: Rate = 1e-3,
        sub_init: Start = "scratch",
        strategy: Strategy = "both",
        direction: Literal["paper", "reference"] = "paper",
        eta: Annotated[float, Field(ge=0)] = 1e-3,
        failing_source: Source = "train_and_repair",
        fix_batch: Count = 100,
        retrain_epochs: Annotated[int, Field(ge=0)] = 1,
        retrain_batch: Count | Literal["auto"] = "auto",
        retrain_lr: Rate | Literal["auto"] = "auto",
        schedule: Literal["cosine", "constant"] = "cosine",
        rollback: bool = False,
        max_rounds: Annotated[int, Field(ge=0)] = 30,
        patience: Annotated[int, Field(ge=0)] = 10,
        max_steps: Count = 20_000,
        max_seconds: Seconds = None,
    ) -> None:
        super().__init__(max_seconds=max_seconds)
        self.num_sub, self.per_class = num_sub, per_class
        self.sub_epochs, self.sub_lr, self.sub_init = sub_epochs, sub_lr, sub_init
        self.strategy: Strategy = strategy
        self.eta = eta if direction == "paper" else -eta
        self.failing_source, self.fix_batch = failing_source, fix_batch
        self.retrain_epochs, self.retrain_batch, self.retrain_lr = retrain_epochs, retrain_batch, retrain_lr
        self.schedule, self.rollback = schedule, rollback
        self.max_rounds, self.patience, self.max_steps = max_rounds, patience, max_steps
        self._course = Course()
        self._sub_steps = 0

    def check(self, task: TaskSpec) -> None:
        if self.sub_init == "scratch" and not task.can_be_fresh:
            raise NotApplicable(
                "trains sub-models from scratch, and this architecture cannot be initialised anew: "
                "set method.sub_init=faulty"
            )
        if not any(parameter.requires_grad for parameter in task.model.parameters()):
            raise NotApplicable(f"needs trainable parameters: {type(task.model).__name__} has none")

    def stages(self, problem: Problem) -> Iterator[Stage]:
        """Steps 1 and 2, sub-models; then the rounds."""
        training = SubModelTraining(
            number=self.num_sub,
            per_class=self.per_class,
            epochs=self.sub_epochs,
            lr=self.sub_lr,
            start=self.sub_init,
        )
        yield training
        self._sub_steps, self._submodels = training.taken, training.trained
        yield self

    def rounds(self, problem: Problem) -> Rounds:
        """Steps 4 to 10; a shift of the weights in each round, then retraining."""
        model, measure = problem.copy().train(), Measure(problem)
        candidates = self._candidates(problem)
        starts = range(0, len(candidates), self.fix_batch)
        training = self._retraining(problem, model, rounds=len(starts))
        standing = measure(model)
        self._course = course = Course([(0, standing)])
        best = Best(standing, 0, _cloned(model))
        for number, start in enumerate(starts, 1):
            used = self._shift(model, candidates.subset(torch.arange(len(candidates))[start : start + self.fix_batch]))
            before, standing = standing, measure(model) if used else standing
            improved = best.offer(standing, number, model)
            if used:
                kept = improved or not self.rollback
                course.shifts.append(Shifted(training.taken, used, before, standing, kept))
                self.record(course.shifts[-1].log(), training.taken)
            if not improved and self.rollback:
                standing = best.restore(model)
            if number > best.round + self.patience:
                break
            for _ in range(self.retrain_epochs):
                for _ in training.one_pass():
                    yield {}
            if self.retrain_epochs:
                standing = measure(model)
                best.offer(standing, number, model)
                course.points.append((training.taken, standing))
                self.record(standing.log(), training.taken)
                if training.ended:
                    break
            yield {}
        if len(starts) and not best.round:
            raise RepairFailed("no round beats the faulty model's validation accuracy")
        best.restore(model)
        return model

    def _candidates(self, problem: Problem) -> Split:
        """Step 4: the inputs of all rounds, in random order, those of the repair split in front; nothing is copied."""
        generator, left = problem.stream("candidates"), self.max_rounds * self.fix_batch
        sources = {"repair": [problem.repair_set], "train": [problem.train]}
        chosen = []
        for split in sources.get(self.failing_source, [problem.repair_set, problem.train]):
            order = torch.randperm(len(split), generator=generator)[:left].to(split.device)
            chosen.append(Split(split.name, Selected(split.inputs, order), split.labels[order]))
            left -= len(order)
        return joined("candidates", chosen)

    def _retraining(self, problem: Problem, model: nn.Module, rounds: int) -> ContinuedTraining:
        return ContinuedTraining(
            problem,
            model,
            passes=rounds * self.retrain_epochs,
            max_steps=self.max_steps,
            schedule=self.schedule,
            lr=self.retrain_lr,
            batch_size=self.retrain_batch,
        )

    def _shift(self, model: nn.Module, candidates: Split) -> int:
        """Steps 5 and 6, for a round's candidates; returns how many of them shift the weights.

        They are predicted once, before any of them shifts the weights.
        """
        failing = candidates.subset((~right(model, candidates)).nonzero().flatten())
        if not len(failing):
            return 0
        rights = self._submodels.right(failing)
        used = int(divided(rights).sum())
        if used and self.eta:
            shift = shift_for(rights, self.strategy, self.eta)
            write_weights(model, shift.of(flat_weights(model), self._submodels.weights))
        return used

    def costs(self) -> Log:
        """Steps of the retraining and of all sub-models; how many shifts, and what one brought on validation."""
        shifts = self._course.shifts
        return {
            "steps": self._course.steps,
            "sub_steps": self._sub_steps,
            "shifting_inputs": sum(shift.inputs for shift in shifts),
            "shifts": len(shifts),
            "shifts_kept": sum(shift.kept for shift in shifts),
            "shift_validation_gain": sum(shift.validation_gain for shift in shifts) / max(1, len(shifts)),
        }

    def pictures(self) -> Mapping[str, Figure]:
        """Repair rate, negative flips and validation accuracy over the gradient steps; rounds with a shift marked."""
        return {"progress": drawn([self._course.panel(title, name) for title, name in PANELS])}


PANELS = (
    ("Repair rate on the failing repair inputs", "repair_rate"),
    ("Negative flips on validation", "negative_flip_rate"),
    ("Accuracy on validation", "validation_accuracy"),
)


@dataclass(frozen=True)
class Shifted:
    """The shift of a round: after how many gradient steps, by how many inputs, how the model stood before and after."""

    step: int
    inputs: int
    before: Standing
    after: Standing
    kept: bool

    @property
    def validation_gain(self) -> float:
        """Change of the validation accuracy, in [-1, 1]."""
        return self.after.validation_accuracy - self.before.validation_accuracy

    def log(self) -> Log:
        """What to log of it."""
        return {"shift/inputs": self.inputs, "shift/validation_gain": self.validation_gain, "shift/kept": self.kept}


@dataclass
class Course:
    """How a repair went: (gradient steps, standing) before the first round and after each retraining; the shifts."""

    points: list[tuple[int, Standing]] = field(default_factory=list)
    shifts: list[Shifted] = field(default_factory=list)

    @property
    def steps(self) -> int:
        return self.points[-1][0] if self.points else 0

    def panel(self, title: str, name: str) -> Panel:
        """One quantity of the standings as a panel of a picture."""

        def marked(kept: bool) -> list[Point]:
            return [(shift.step, getattr(shift.after, name)) for shift in self.shifts if shift.kept == kept]

        points = [(step, getattr(standing, name)) for step, standing in self.points]
        return Panel(title, points, {"shift kept": marked(True), "shift undone": marked(False)})


@dataclass
class Best:
    """The weights and buffers that are best on validation, of one moment, and the round that they are from."""

    standing: Standing
    round: int
    state: dict[str, Tensor]

    def offer(self, standing: Standing, number: int, model: nn.Module) -> bool:
        """Take the model's present weights if they are better; returns whether they are."""
        if standing.validation_accuracy <= self.standing.validation_accuracy:
            return False
        self.standing, self.round, self.state = standing, number, _cloned(model)
        return True

    def restore(self, model: nn.Module) -> Standing:
        """Put the best weights and buffers into the model."""
        model.load_state_dict(self.state)
        return self.standing


def _cloned(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
