"""NNrepair: one expert per class, made by constraint solving on a few suspicious weights of one layer.

M. Usman, D. Gopinath, Y. Sun, Y. Noller, C. Pasareanu, "NNrepair: Constraint-based Repair of Neural Network
Classifiers", CAV 2021 (arXiv 2103.12535). Level: neuron. Needs: a Linear layer that gives the logits, or a Linear layer
before a ReLU; failing repair inputs.

Where we differ from the authors' constraint files: integer programs instead of Z3, which prefer the smallest change (on
each of the 120 published programs for MNIST's last layer as many constraints hold as with Z3's solution); suspicious
are the weights with the largest mean |h_i W_ki| (their measure is not published); constraints keep a margin. For a
hidden layer the choice of weights and the constraints on passing inputs are a reconstruction. Of the authors' ways to
combine experts, two are here.
"""

from __future__ import annotations

from itertools import chain
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from study.errors import NotApplicable, RepairFailed, UsageError
from study.models.experts import ClassExperts
from study.parts.localisation.activation_patterns import Pattern, class_patterns
from study.parts.network.dense_data import DenseData, last_rectified
from study.parts.network.layers import output_layer
from study.parts.pictures.localised import draw_localised
from study.parts.search.guard import keeps_accuracy
from study.parts.selection.class_f1 import class_f1
from study.parts.selection.few_per_class import few_per_class
from study.parts.selection.round_robin import round_robin
from study.parts.solvers.row_changes import RowChange, RowWish, add_changes, answering, changed_entries, held, switching
from study.problem.problem import Problem
from study.problem.recipe import Auto
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.repairs.changes import is_finite
from study.runtime.settings import settings


@settings
class NNRepair(Approach):
    """Solves for changes with which failing inputs get their class; hyperparameters: see conf/method/nnrepair.yaml."""

    level: ClassVar[Level] = "neuron"
    source: ClassVar[str] = "Usman et al.: NNrepair, CAV 2021, arXiv 2103.12535"

    layer: Literal["last", "intermediate"] = "last"
    n_fail: Annotated[int, Field(ge=1)] | None = None
    n_pass: Annotated[int, Field(ge=0)] = 100
    places: Annotated[int, Field(ge=1)] | Auto = "auto"
    bound: Annotated[float, Field(gt=0)] | Auto = "auto"
    eps: Annotated[float, Field(gt=0)] = 1e-3
    time_limit: Annotated[float, Field(gt=0)] = 60.0
    combination: Literal["average", "conf"] = "average"
    f1_select: bool = False
    localisation: Literal["attribution", "random"] = "attribution"
    solve: Literal["milp", "random"] = "milp"
    draws: Annotated[int, Field(ge=1)] = 10_000
    max_classes: Annotated[int, Field(ge=2)] = 100
    guard: bool = False

    def __post_init__(self) -> None:
        if self.combination == "conf" and self.layer != "last":
            raise UsageError("method.combination=conf needs method.layer=last; with intermediate use average")

    def check(self, task: TaskSpec) -> None:
        if task.num_classes > self.max_classes:
            raise NotApplicable(f"makes one expert per class, {self.max_classes} at most: there are {task.num_classes}")
        self._layer_name(task.model, task.example(2))

    def repair(self, problem: Problem) -> Repair:
        """Choose the inputs, make an expert for each class that has failing ones, combine the experts."""
        if not is_finite(problem.faulty):
            raise RepairFailed("the faulty model's weights are not finite", programs=0)
        generator = problem.stream("search")
        name = self._layer_name(problem.faulty, problem.repair_set.fetch(problem.failing[:2]).inputs)
        data = DenseData.of(problem.faulty, name, problem.repair_set)
        failing, passing = problem.failing.cpu(), problem.passing.cpu()
        targets = failing[few_per_class(data.labels[failing], self.n_fail or 0, generator)]  # step 1
        kept = passing[round_robin(data.labels[passing], self.n_pass, generator)]
        patterns = dict[int, Pattern]()
        if self.layer == "intermediate" and len(passing):  # the units whose states imply each class
            patterns = class_patterns(data.outputs[passing] > 0, data.labels[passing], problem.seed_of("search"))

        experts = dict[int, list[RowChange]]()
        for label in data.labels[targets].unique().tolist():
            mine = targets[data.labels[targets] == label]
            wanted = torch.arange(len(mine) + len(kept)) < len(mine)
            wishes = self._wishes(label, data.at(torch.cat([mine, kept])), wanted, patterns)
            if wishes:
                experts[label] = [self._changed(wish, generator) for wish in wishes]  # steps 2 to 5
                yield {"step": label, **{f"search/{key}": count for key, count in held(experts[label]).items()}}
        changes = list(chain(*experts.values()))
        costs = {**held(changes), "programs": sum(change.programs for change in changes), "experts": len(experts)}
        if not any(change.after > change.before for change in changes):
            raise RepairFailed("no expert satisfies a constraint that does not hold already", **costs)
        if self.f1_select:
            experts = {k: expert for k, expert in experts.items() if self._is_better(problem, name, k, expert)}
            costs["experts"] = len(experts)
        if not experts:
            raise RepairFailed("no expert's F1 score for its class is better than the faulty model's", **costs)
        repaired = self._combined(problem, name, list(experts.values()))
        if self.guard and not keeps_accuracy(problem, repaired):
            raise RepairFailed("the experts do not keep the faulty model's validation accuracy", **costs)
        entries = changed_entries(name, changes, data.weight.shape[1])
        return Repaired(repaired, costs, lambda: {"localised_weights": draw_localised(problem.faulty, entries)})

    def _layer_name(self, model: nn.Module, example: Tensor) -> str:
        """The layer that changes; raises NotApplicable where there is none."""
        return output_layer(model, example) if self.layer == "last" else last_rectified(model)

    def _wishes(self, label: int, data: DenseData, wanted: Tensor, patterns: dict[int, Pattern]) -> list[RowWish]:
        """What is wanted of each row: of the class's own, or of each hidden unit of its pattern."""
        if self.layer == "last":
            return [answering(label, data, wanted)]
        units, on = patterns.get(label, Pattern(wanted[:0], wanted[:0]))
        return [switching(*pair, data, wanted) for pair in zip(units.tolist(), on.tolist(), strict=True)]

    def _changed(self, wish: RowWish, generator: torch.Generator) -> RowChange:
        """Localise the weights of the row, then solve for their change."""
        usual = (5, 0.5) if self.layer == "last" else (50, 1.0)
        places, bound = (
            usual[0] if self.places == "auto" else self.places,
            usual[1] if self.bound == "auto" else self.bound,
        )
        columns = wish.suspicious(places, generator if self.localisation == "random" else None)
        program = wish.among(columns, bound=bound, eps=self.eps)
        if self.solve == "milp":
            return RowChange.of(wish.row, columns, program, program.solution(self.time_limit))
        points = torch.rand(self.draws, len(columns), generator=generator, dtype=torch.float64) * 2 - 1
        return RowChange.of(wish.row, columns, program, program.best_of((points * program.bound).numpy()))

    def _is_better(self, problem: Problem, name: str, label: int, expert: list[RowChange]) -> bool:
        """Whether the expert's F1 score for its class on the repair set is above the faulty model's."""
        model = problem.copy()
        add_changes(model.get_parameter(f"{name}.weight"), expert)
        return bool(class_f1(model, problem.repair_set, label) > class_f1(problem.faulty, problem.repair_set, label))

    def _combined(self, problem: Problem, name: str, experts: list[list[RowChange]]) -> nn.Module:
        """The network with the average change, or all experts beside it."""
        model, changes = problem.copy(), list(chain(*experts))
        if self.combination == "average":
            add_changes(model.get_parameter(f"{name}.weight"), changes, 1 / len(experts))
            return model
        network = ClassExperts(model, name).to(problem.device)
        add_changes(network.steps, changes)
        return network
