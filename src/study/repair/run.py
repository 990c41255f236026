"""Applying an approach to a problem: the stages in order, the clock, and the rules that hold for every approach."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from study.errors import BudgetExceeded, NotApplicable, OutOfTime, RepairFailed
from study.problem.prediction import predict
from study.problem.problem import Problem
from study.repair.approach import Approach
from study.runtime.fit import Curve, Curves, Hardware, fit
from study.runtime.memory import PeakMemory
from study.runtime.randomness import forked
from study.storage.models import weights_hash

Outcome = Literal["repaired", "unadaptable", "failure", "corrupted"]


@dataclass
class Repair:
    """What came of an approach.

    model: the repaired model in eval mode, None unless the outcome is `repaired`; seconds: wall-clock time from
    "faulty model in memory" to "repaired model returned"; curves: what the stages logged; costs: see
    `Approach.costs`, peak memory (MiB) and share of changed weights included; changed: whether any weight, or
    statistic of a BatchNorm, differs; code: fingerprint of the code that computed it.
    """

    outcome: Outcome
    reason: str = ""
    model: nn.Module | None = None
    seconds: float = 0.0
    changed: bool = False
    curves: dict[str, Curve] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    pictures: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""


def repair(approach: Approach, problem: Problem, hardware: Hardware) -> Repair:
    """Repair the faulty model of `problem`; every end but a crash is a result."""
    if not len(problem.failing):
        return Repair("failure", "the model errs on no repair input")
    before = weights_hash(problem.faulty)
    curves = Curves()
    result = Repair("failure", curves=curves.values)
    start = time.perf_counter()
    with PeakMemory(problem.device) as memory, forked(problem.seed, "repair", "layers"):
        try:
            _run_stages(approach, problem, hardware, curves, start)
            result.model = approach.repaired()
            result.outcome = "repaired"
        except RepairFailed as reason:
            result.reason = str(reason)
        except NotApplicable as reason:
            result.outcome, result.reason = "unadaptable", str(reason)
        except OutOfTime:
            result.outcome, result.reason = "corrupted", f"ran over its time budget of {approach.max_seconds:g} s"
        except BudgetExceeded as reason:
            result.outcome, result.reason = "corrupted", str(reason)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            result.outcome, result.reason = "corrupted", f"ran out of memory: {error}"
    result.seconds = time.perf_counter() - start
    if weights_hash(problem.faulty) != before:
        raise RuntimeError(f"{type(approach).__name__} changed the faulty model in place")
    result.costs = {name: float(value) for name, value in approach.costs().items()} | {"peak_memory": memory.mib}
    if result.model is not None:
        result.pictures = approach.pictures()
        _judge(result, approach, problem)
    result.curves = dict(curves.values)
    return result


def _run_stages(approach: Approach, problem: Problem, hardware: Hardware, curves: Curves, start: float) -> None:
    for stage in approach.stages(problem):
        stage.begin(problem)
        left = None if approach.max_seconds is None else approach.max_seconds - (time.perf_counter() - start)
        if left is not None and left <= 0:
            raise OutOfTime
        fit(
            stage,
            hardware,
            loader=stage.batches(),
            curves=curves,
            epochs=stage.epochs,
            steps=stage.steps,
            seconds=left,
        )


def _judge(result: Repair, approach: Approach, problem: Problem) -> None:
    """The rules common to all approaches: finite weights, and a failing repair input right afterwards."""
    model = result.model
    assert model is not None
    model.to(problem.device)
    result.costs["weights_changed"] = changed_share(problem.faulty, model)
    result.changed = weights_hash(model) != weights_hash(problem.faulty)
    if not all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values() if tensor.is_floating_point()):
        result.outcome, result.reason, result.model = "failure", "its weights are not finite", None
        return
    failing = problem.repair_set.subset(problem.failing)
    fixed = int((predict(model, failing).argmax(1) == failing.labels).sum())
    result.costs["repair_set_fixed"] = fixed / len(failing)
    if not fixed and not approach.unchanged_is_result:
        result.outcome, result.reason, result.model = "failure", "no failing repair input is right afterwards", None


def changed_share(before: nn.Module, after: nn.Module) -> float:
    """Share of the faulty model's parameters whose value differs afterwards.

    Where the repaired model holds the faulty one among other parts (a patch network, voters), their parameters and
    buffers count as changed too, so that the share can exceed 1; buffers that every copy of the model has
    (normalisation) do not count.
    """
    old, new = dict(before.named_parameters()), dict(after.named_parameters())
    usual = tuple(name for name, _ in before.named_buffers())
    added = sum(buffer.numel() for name, buffer in after.named_buffers() if not name.endswith(usual))
    prefixes = [f"{name}." if name else "" for name, _ in after.named_modules()]
    unchanged = max(_equal_values(old, new, prefix) for prefix in prefixes)
    return (_count(new) + added - unchanged) / _count(old)


def _equal_values(old: Mapping[str, Tensor], new: Mapping[str, Tensor], prefix: str) -> int:
    """How many values of `old` stand unchanged in `new` under the same names after `prefix`."""
    pairs = [(tensor, new[prefix + name]) for name, tensor in old.items() if prefix + name in new]
    return sum(int((ours == theirs).sum()) for ours, theirs in pairs if ours.shape == theirs.shape)


def _count(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors.values())


def _is_out_of_memory(error: Exception) -> bool:
    """Torch has an exception of its own for a full GPU, and none for a full machine."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
