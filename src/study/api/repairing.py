"""`study.repair` and `study.evaluate`: what a job does, from Python, without command line, files or MLflow."""

from __future__ import annotations

import copy
import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from study.api import approaches
from study.api.arguments import check_network, hardware_of, seed_of
from study.api.comparison import Comparison, comparison_fields
from study.api.data import data_of, with_all_classes
from study.api.doubts import warn_of_model, warn_of_probabilities
from study.data.example import example_inputs
from study.data.memory import InMemory
from study.data.module import DataModule
from study.data.split import Split
from study.errors import NotApplicable, UsageError
from study.metrics.comparing import compared
from study.metrics.standing import Standing
from study.metrics.suite import Suite
from study.models.classifier import Classifier
from study.problem.faulty import Faulty
from study.problem.problem import Problem
from study.problem.recipe import Recipe
from study.problem.task import TaskSpec
from study.repairs.approach import Approach
from study.repairs.costs import described
from study.repairs.run import Outcome, RepairResult, run_repair
from study.runtime.fit import Curve
from study.runtime.hardware import Hardware
from study.runtime.progress import Wanted, shown
from study.safeguards.base import Safeguard
from study.safeguards.guarding import guarded

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, repr=False)
class Repair(Comparison):
    """A repair and what it changed.

    outcome: `repaired`, or why there is no repaired model: `unadaptable` (the approach cannot be applied), `failure`
    (it found no repair), `corrupted` (over its budget), with the `reason`; model: the repaired model in eval mode, of
    the class of the given one unless the approach or a safeguard puts something beside it; None without one; figures:
    what the approach drew; curves: what it logged, points (step, value) by name.
    """

    outcome: Outcome
    reason: str
    model: nn.Module | None
    figures: Mapping[str, Figure]
    curves: Mapping[str, Curve]

    def __repr__(self) -> str:
        return f"{self.ending}\n{super().__repr__()}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.ending)}</p>{super()._repr_html_()}"

    @property
    def ending(self) -> str:
        """The outcome with its reason, if there is one."""
        return f"{self.outcome}: {self.reason}" if self.reason else self.outcome


def repair(
    model: nn.Module,
    data: Any,
    method: str | Approach = "joint",
    /,  # `data` is a hyperparameter of finetune
    *,
    seed: int = 0,
    safeguard: str | Safeguard = "none",
    metric: str | Suite = "fast",
    device: str = "cpu",
    progress: Wanted = "auto",
    **hyperparameters: Any,
) -> Repair:
    """Repair a trained classifier and measure what that changes. The given model stays as it is.

    Args:
        model: maps a batch of inputs to logits [B, classes].
        data: inputs with labels: a tuple of tensors, a torch Dataset or DataLoader, a Hugging Face Dataset, a
            LightningDataModule, a path to a folder of images, a mapping of such things by split (`train`, `validation`,
            `repair`, `test`), or a `study.Data`, which says more. Splits that are missing are drawn; bring a `repair`
            and a `test` split that the model was not trained on.
        method: name of an approach as on the command line (`arachne`, `full/joint`), or an `Approach`.
        seed: of all that is random.
        safeguard: `none`, or a name of conf/safeguard (`interpolation`, `soft_voting`), or a `Safeguard`.
        metric: `fast`; `all`: robustness as well, which needs `study.Data(epsilon=...)`; `autoattack`; or a `Suite`.
        device: `cpu` or `gpu`.
        progress: True, False, or auto: a bar on a terminal and in a notebook.
        hyperparameters: of the approach, as in conf/method.

    Raises:
        UsageError: An argument cannot be used; the message says in one sentence why not.

    Warns of a model whose outputs are probabilities, or that is hardly better than chance on the train split.

    >>> inputs = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    >>> model = nn.Linear(5, 2)
    >>> _ = model.load_state_dict({"weight": torch.zeros(2, 5), "bias": torch.tensor([0.01, 0.0])})  # class 0
    >>> result = repair(model, (inputs, (inputs[:, 0] > 0).long()), "finetune", epochs=9, progress=False)
    >>> type(result.model).__name__, sorted(result.pictures), 0 <= result.metrics["after/repair_rate"] <= 1
    ('Linear', ['confusion', 'repaired_pairs'], True)
    """
    check_network(model)
    approach = approaches.approach(method, **hyperparameters)
    guard, suite = approaches.safeguard(safeguard), approaches.suite(metric)
    hardware, seed = hardware_of(device, progress), seed_of(seed)
    with shown(progress):
        subject = _Subject.of(model, data, hardware, seed)
        warn_of_model(subject.faulty, subject.standing)
        result, repaired = _repaired(approach, guard, subject, hardware)
        after, measured = compared(subject.standing, subject.faulty, repaired, suite, subject.data.threat, seed)
        if repaired is None:
            measured = measured.of_faulty()
        return Repair(
            outcome=result.outcome,
            reason=result.reason,
            model=repaired.net if type(repaired) is Classifier and type(model) is not Classifier else repaired,
            figures=dict(result.pictures),
            curves=dict(result.curves),
            **comparison_fields(subject.data, subject.standing.logits, after, measured | described(result)),
        )


def evaluate(
    before: nn.Module,
    after: nn.Module,
    data: Any,
    *,
    seed: int = 0,
    metric: str | Suite = "fast",
    device: str = "cpu",
    progress: Wanted = "auto",
) -> Comparison:
    """Compare two models on the test split of `data`, as `repair` does; see there for the arguments.

    A mapping or a `study.Data` with a test split alone will do: the splits that are missing are then not drawn.
    """
    for name, model in {"before": before, "after": after}.items():
        check_network(model, name)
    suite = approaches.suite(metric)
    hardware, seed = hardware_of(device, progress), seed_of(seed)
    with shown(progress):
        subject = _Subject.of(before, data, hardware, seed, whole=False)
        other = subject.faulty if after is before else subject.compared_with(after, hardware)
        warn_of_model(subject.faulty, subject.standing)
        logits, measured = compared(subject.standing, subject.faulty, other, suite, subject.data.threat, seed)
        if other is not subject.faulty:
            warn_of_probabilities(logits, "the second model")
        return Comparison(**comparison_fields(subject.data, subject.standing.logits, logits, measured))


@dataclass(frozen=True)
class _Subject:
    """A user's model and data as a job has them."""

    faulty: nn.Module
    data: DataModule
    splits: Mapping[str, Split]
    standing: Standing
    seed: int

    @classmethod
    def of(cls, model: nn.Module, data: Any, hardware: Hardware, seed: int, *, whole: bool = True) -> _Subject:
        """Both as a job has them; `whole` as in `data_of`."""
        module = data_of(data, whole=whole)
        module.check()
        faulty = _wrapped(model, module, hardware)
        module = with_all_classes(module, _outputs(faulty, module, hardware))
        module.load(seed)
        splits = {name: split.to(hardware.device) for name, split in module.splits.items() if len(split)}
        return cls(faulty, module, splits, Standing.of(faulty, splits, None, seed), seed)

    def compared_with(self, model: nn.Module, hardware: Hardware) -> Classifier:
        """A second model of the same data; raises UsageError where it does not fit."""
        which = "the second model"
        other = _wrapped(model, self.data, hardware)
        outputs = _outputs(other, self.data, hardware, which)
        if outputs != self.data.num_classes:
            raise UsageError(f"{which} gives {outputs} outputs per input, and the first {self.data.num_classes}")
        return other

    @property
    def problem(self) -> Problem:
        recipe = Recipe(**self.data.recipe).resolved(InMemory.recipe)
        return Problem.posed_by(Faulty(self.faulty, None), self.splits, self.task, recipe, self.seed)

    @property
    def task(self) -> TaskSpec:
        return TaskSpec.of(self.data, self.faulty, has_history=False)


def _repaired(
    approach: Approach, safeguard: Safeguard, subject: _Subject, hardware: Hardware
) -> tuple[RepairResult, nn.Module | None]:
    """The repair, and the model that is to be measured, None without one."""
    try:
        approach.check(subject.task)
        safeguard.check(subject.task)
    except NotApplicable as reason:
        return RepairResult(outcome="unadaptable", reason=str(reason)), None
    problem = subject.problem
    result = run_repair(approach, problem, hardware)
    return guarded(safeguard, problem, result)


def _wrapped(model: nn.Module, data: DataModule, hardware: Hardware) -> Classifier:
    """A copy of the model behind the normalisation that the data asks for."""
    own = copy.deepcopy(model)
    wrapped = own if isinstance(own, Classifier) else Classifier(own, data.mean, data.std, len(data.input_shape))
    return wrapped.to(hardware.device).eval()


def _outputs(model: nn.Module, data: DataModule, hardware: Hardware, which: str = "the model") -> int:
    """Number of the model's outputs; raises UsageError, on `which`, where it does not take the inputs."""
    example = example_inputs(data.kind, data.input_shape, data.bounds, 2).to(hardware.device)
    shape = "x".join(map(str, data.input_shape))
    try:
        with torch.no_grad():
            logits = model(example)
    except Exception as error:  # a user's network may raise anything
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise UsageError(f"{which} cannot take inputs of shape {shape}: {first}") from error
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 2:
        raise UsageError(f"{which} gives no logits [B, classes], one row for each input")
    return int(logits.shape[1])
