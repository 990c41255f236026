"""From a composed configuration to the objects of a job, each checked, and nothing run or written yet."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import pydantic
import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field

from study.config.instantiate import build, made, sentences
from study.data.module import DataModule
from study.errors import NotApplicable, UsageError
from study.metrics.suite import Suite
from study.models.classifier import Classifier
from study.problem import faulty
from study.problem.problem import TaskSpec
from study.problem.recipe import Recipe
from study.repair.approach import Approach
from study.runtime.fit import Hardware
from study.safeguards.base import Safeguard
from study.storage.files import key_of
from study.storage.paths import cache
from study.tracking.store import Store

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class SubjectSettings(pydantic.BaseModel, extra="forbid"):
    """The `subject` part of the configuration."""

    seed: Seed


class Settings(pydantic.BaseModel, extra="forbid"):
    """The values of the configuration that belong to no group."""

    seed: Seed
    subject: SubjectSettings
    force: bool
    plan: bool
    fail_fast: bool


@dataclass(frozen=True)
class Names:
    """What a job is called by: the chosen options of its groups."""

    method: str
    dataset: str
    architecture: str
    metric: str
    safeguard: str

    @property
    def run(self) -> str:
        """Short enough for the table of the MLflow UI, without the seed."""
        return f"{self.method} {self.dataset}"


@dataclass(frozen=True)
class Job:
    """All that one job needs, checked."""

    config: dict[str, Any]
    settings: Settings
    names: Names
    data: DataModule
    recipe: Recipe
    hardware: Hardware
    approach: Approach | None
    safeguard: Safeguard
    suite: Suite
    store: Store
    overrides: list[str]

    @property
    def builder(self) -> Callable[[], Classifier]:
        """Makes the subject's model, newly initialised from torch's global random state; holds no data."""
        return partial(build, _resolved(self.config["architecture"], self.data), self.data.mean, self.data.std)

    @cached_property
    def task(self) -> TaskSpec:
        """What an approach may know before the faulty model is trained."""
        trained = self.recipe.checkpoint is None
        return TaskSpec(
            model=self.builder().eval(),
            kind=self.data.kind,
            num_classes=self.data.num_classes,
            input_shape=tuple(self.data.input_shape),
            has_groups=self.data.group_names is not None,
            has_history=trained and int(self.recipe.epochs) > 1,
            box=self.data.box,
            epsilon=self.data.epsilon,
        )

    def load_data(self) -> None:
        """Read the data set and draw its splits."""
        self.data.load(self.settings.subject.seed)

    @property
    def faulty_key(self) -> str:
        """Key of all that determines the faulty model; the data must be loaded."""
        checkpoint = self.recipe.checkpoint
        return key_of(
            {
                "data": [self.data.fingerprint, self.data.split_hash],
                "architecture": _resolved(self.config["architecture"], self.data),
                "recipe": dataclasses.asdict(self.recipe) if checkpoint is None else key_of(_bytes(checkpoint)),
                "code": faulty.CODE_VERSION,
                "seed": self.settings.subject.seed,
                "machine": self.machine,
            }
        )

    @property
    def repair_key(self) -> str:
        """Key of all that determines the repair."""
        return key_of([self.faulty_key, self.config.get("method"), self.settings.seed, self.data.epsilon, self.machine])

    @property
    def key(self) -> str:
        """Key of all that determines this job's result, and of the name it is recorded under."""
        return key_of([self.names.method, self.repair_key, self.config["safeguard"], self.config["metric"]])

    @property
    def machine(self) -> list[str]:
        """What of the machine determines a result, bit for bit."""
        return [self.hardware.accelerator, str(self.hardware.threads), torch.__version__]

    @property
    def faulty_folder(self) -> Path:
        return cache() / "faulty" / self.faulty_key

    @property
    def repair_folder(self) -> Path:
        return cache() / "repairs" / self.repair_key

    @property
    def code(self) -> str:
        """Fingerprint of the code that repairs and trains; a result computed by other code is tagged."""
        package = Path(__file__).parents[1]
        files = [
            file
            for name in ("methods", "parts", "repair", "problem", "data", "models", "runtime")
            for file in sorted(package.glob(f"{name}/**/*.py"))
        ]
        own = inspect.getsourcefile(type(self.approach)) if self.approach is not None else None
        files += [Path(own)] if own and not Path(own).is_relative_to(package) else []
        return key_of([file.read_text() for file in files])


def prepare(config: DictConfig, hydra: DictConfig, overrides: list[str]) -> Job:
    """Build and check everything; raises UsageError, in one sentence, for whatever a user got wrong."""
    try:
        values: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise UsageError(str(error).splitlines()[0]) from error
    settings = _settings(values)
    hardware = _hardware(made(values, "trainer", Hardware), hydra.launcher)
    data = made(values, "dataset", DataModule)  # type: ignore[type-abstract]
    data.check()
    recipe = made(values, "faulty", Recipe).resolved(data.recipe)
    job = Job(
        config=values,
        settings=settings,
        names=_names(values, dict(hydra.runtime.choices)),
        data=data,
        recipe=recipe,
        hardware=hardware,
        approach=made(values, "method", Approach) if values.get("method") else None,
        safeguard=made(values, "safeguard", Safeguard),
        suite=made(values, "metric", Suite),
        store=made(values, "tracking", Store),
        overrides=overrides,
    )
    _check(job)
    return job


def unadaptable(job: Job) -> str | None:
    """Why the approach cannot be applied to the subject, None if it can."""
    try:
        if job.approach is not None:
            job.approach.check(job.task)
    except NotApplicable as reason:
        return str(reason)
    return None


def _check(job: Job) -> None:
    """What no single object can see."""
    _ = job.hardware.device
    model = job.builder()
    if job.recipe.checkpoint is not None:
        faulty.checkpoint_fits(model.net, Path(job.recipe.checkpoint))
    _check_shapes(job, model)
    job.suite.check_radius(job.data.epsilon)
    job.store.check()


def _check_shapes(job: Job, model: Classifier) -> None:
    """Run two blank inputs through the architecture, whose errors would otherwise come after the data are loaded."""
    blank = torch.zeros(2, *job.data.input_shape)
    try:
        with torch.no_grad():
            logits = model.eval()(blank)
    except Exception as error:  # a user's network may raise anything
        raise UsageError(
            f"architecture={job.names.architecture} cannot take inputs of shape "
            f"{'x'.join(map(str, job.data.input_shape))}: {str(error).splitlines()[0]}"
        ) from error
    if tuple(logits.shape) != (2, job.data.num_classes):
        raise UsageError(
            f"architecture={job.names.architecture} gives {tuple(logits.shape)[1:]} outputs per input; "
            f"dataset={job.names.dataset} has {job.data.num_classes} classes"
        )


def _settings(values: Mapping[str, Any]) -> Settings:
    try:
        return Settings(**{name: values[name] for name in Settings.model_fields})
    except pydantic.ValidationError as error:
        raise UsageError(sentences(error, "", Settings)) from error


def _names(values: Mapping[str, Any], choices: Mapping[str, str]) -> Names:
    architecture = choices.get("architecture", "")
    if architecture.startswith("default_") or not architecture:
        architecture = str(values["architecture"]["_target_"]).rpartition(".")[2].lower()
    return Names(
        method=choices.get("method", "none"),
        dataset=choices["dataset"],
        architecture=architecture,
        metric=choices["metric"],
        safeguard=choices["safeguard"],
    )


def _hardware(hardware: Hardware, launcher: Mapping[str, Any]) -> Hardware:
    """Resolve `threads: auto`: the cores, shared out between the jobs that a launcher runs at the same time."""
    if hardware.threads != "auto":
        return hardware
    threads = len(os.sched_getaffinity(0))
    if per_task := launcher.get("cpus_per_task"):
        threads = int(per_task)
    elif parallel := launcher.get("n_jobs"):
        threads = max(1, threads // (int(parallel) if int(parallel) > 0 else threads))
    return dataclasses.replace(hardware, threads=threads)


def _resolved(architecture: Mapping[str, Any], data: DataModule) -> dict[str, Any]:
    """An architecture's settings with each `auto` replaced by what follows from the data set."""
    follows = {
        "input_shape": list(data.input_shape),
        "num_classes": data.num_classes,
        "in_channels": data.input_shape[0],
    }
    unknown = [name for name, value in architecture.items() if value == "auto" and name not in follows]
    if unknown:
        raise UsageError(f"architecture.{unknown[0]}=auto: only {', '.join(follows)} follow from the data set")
    return {name: follows[name] if value == "auto" else value for name, value in architecture.items()}


def _bytes(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
