"""Running an approach on a problem: its stages in order, the clock, and the rules common to all approaches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from study.errors import BudgetExceeded, NotApplicable, OutOfTime, RepairFailed
from study.problem.prediction import predict
from study.problem.problem import Problem
from study.repairs.approach import Approach, Repaired
from study.repairs.changes import (
    LayerChange,
    added_parameters,
    changed_share,
    is_finite,
    layer_changes,
    relative_change,
)
from study.repairs.passes import Passes
from study.repairs.stages import PatchingStage, Walk
from study.runtime.fit import Curve, Curves, Stage, fit
from study.runtime.hardware import Hardware
from study.runtime.memory import PeakMemory
from study.runtime.progress import Progress
from study.runtime.randomness import forked
from study.storage.models import weights_hash

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Outcome = Literal["repaired", "unadaptable", "failure", "corrupted"]


@dataclass(frozen=True, kw_only=True)
class RepairResult:
    """What came of an approach.

    model: the repaired model in eval mode, None unless the outcome is `repaired`; seconds: wall-clock time from
    "faulty model in memory" to "repaired model returned"; cpu_seconds: CPU time of all threads of the process
    meanwhile, None if unknown; changed: whether any weight, or statistic of a BatchNorm, differs; curves: what the
    stages logged; costs: those of the approach, gradient steps, passes over one input, peak memory (MiB), size of the
    change; layers: what changed in each layer; pictures: figures by name; code: fingerprint of the code that computed
    it.
    """

    outcome: Outcome
    reason: str = ""
    model: nn.Module | None = None
    seconds: float = 0.0
    cpu_seconds: float | None = None
    changed: bool = False
    curves: Mapping[str, Curve] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    layers: Sequence[LayerChange] = ()
    pictures: Mapping[str, Figure] = field(default_factory=dict)
    code: str = ""


def run_repair(approach: Approach, problem: Problem, hardware: Hardware) -> RepairResult:
    """Repair the faulty model of `problem`; every end but a crash is a result."""
    if not len(problem.failing):
        return RepairResult(outcome="failure", reason="the model errs on no repair input")
    if not is_finite(problem.faulty):
        return RepairResult(outcome="failure", reason="the faulty model's weights are not finite")
    before = weights_hash(problem.faulty)
    passes = Passes(problem.faulty, problem.repair_set.fetch(problem.failing[:1]).inputs)
    run = _Run(approach, problem, hardware)
    with PeakMemory(problem.device) as memory, forked(problem.seed, "repair", "layers"), passes:
        result = run.result()
    seconds, cpu_seconds = time.perf_counter() - run.start, time.process_time() - run.cpu_start
    result = replace(result, seconds=seconds, cpu_seconds=cpu_seconds, curves=dict(run.curves.values))
    if weights_hash(problem.faulty) != before:
        raise RuntimeError(f"{type(approach).__name__} changed the faulty model in place")
    result = replace(result, costs={**run.steps, **passes.costs(), **result.costs, "peak_memory": memory.mib})
    model = result.model
    if model is None:
        return result
    result = replace(result, pictures=dict(run.pictures()), changed=weights_hash(model) != before)
    return _judged(result, model, approach, problem)


class _Run:
    """One run of an approach against the clock."""

    def __init__(self, approach: Approach, problem: Problem, hardware: Hardware) -> None:
        self.approach, self.problem, self.hardware = approach, problem, hardware
        self.curves = Curves()
        self.steps: dict[str, float] = {}
        self.stages = 0
        self.pictures: Callable[[], Mapping[str, Figure]] = dict
        self.start, self.cpu_start = time.perf_counter(), time.process_time()
        self.deadline = None if approach.max_seconds is None else self.start + approach.max_seconds

    def result(self) -> RepairResult:
        """The end of the repair as a result, without what is common to all ends."""
        try:
            repaired = self._finished()
        except RepairFailed as end:
            return RepairResult(outcome="failure", reason=str(end), costs=dict(end.costs))
        except NotApplicable as reason:
            return RepairResult(outcome="unadaptable", reason=str(reason))
        except OutOfTime:
            return RepairResult(
                outcome="corrupted", reason=f"ran over its time budget of {self.approach.max_seconds:g} s"
            )
        except BudgetExceeded as reason:
            return RepairResult(outcome="corrupted", reason=str(reason))
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            return RepairResult(outcome="corrupted", reason=f"ran out of memory: {error}")
        self.pictures = repaired.pictures
        costs = {name: float(value) for name, value in repaired.costs.items()}
        return RepairResult(outcome="repaired", model=repaired.model.eval(), costs=costs)

    def _finished(self) -> Repaired:
        """Run stage after stage until the approach returns."""
        with self._shown():
            walk = Walk(self.approach.repair(self.problem))
        try:
            self._check_time()
            while not isinstance(walk.item, Repaired):
                self.stages += 1
                if isinstance(walk.item, Stage):
                    self._train(walk.item)
                    with self._shown():
                        walk.advance()
                else:
                    self._fit(PatchingStage(walk))
                self._check_time()
        finally:
            walk.generator.close()
        return walk.item

    @property
    def _title(self) -> str:
        stage = f", stage {self.stages}" if self.stages > 1 else ""
        return f"repair ({type(self.approach).__name__}{stage})"

    def _shown(self) -> Progress:
        """What an approach does between its stages is counted by nobody."""
        return Progress(self._title, unit="")

    def _fit(self, stage: Stage) -> None:
        fit(stage, self.hardware, self.curves, self.deadline, self._title)

    def _check_time(self) -> None:
        if self.deadline is not None and time.perf_counter() >= self.deadline:
            raise OutOfTime

    def _train(self, training: Stage) -> None:
        """Fit a training that the approach yielded (it may yield one again) and count its gradient steps."""
        before = training.steps_taken
        try:
            self._fit(training)
        finally:
            self.steps["steps"] = self.steps.get("steps", 0) + training.steps_taken - before


def _judged(result: RepairResult, model: nn.Module, approach: Approach, problem: Problem) -> RepairResult:
    """The rules common to all approaches: finite weights, and a failing repair input right afterwards."""
    model.to(problem.device)
    costs = {**result.costs, "weights_changed": changed_share(problem.faulty, model)}
    result = replace(result, costs=costs)
    if not is_finite(model):
        return replace(result, outcome="failure", reason="its weights are not finite", model=None)
    layers = layer_changes(problem.faulty, model)
    costs |= {"parameters_added": added_parameters(problem.faulty, model)}
    if (relative := relative_change(layers)) is not None:
        costs |= {"relative_change": relative}
    failing = problem.repair_set.subset(problem.failing)
    fixed = int((predict(model, failing).argmax(1) == failing.labels).sum())
    result = replace(result, costs={**costs, "repair_set_fixed": fixed / len(failing)}, layers=layers)
    if not fixed and not approach.unchanged_is_result:
        return replace(result, outcome="failure", reason="no failing repair input is right afterwards", model=None)
    return result


def _is_out_of_memory(error: Exception) -> bool:
    """Torch has an exception of its own for a full GPU, and none for a full machine."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
