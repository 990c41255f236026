"""From a composed configuration to the objects of a job, each checked, and nothing run or written yet."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field
from torch import nn

from study.composition import nearest
from study.errors import Refusal
from study.files import key_of
from study.methods.base import Approach, Unadaptable
from study.metrics.suite import Suite
from study.paths import cache
from study.safeguards.base import Safeguard
from study.subject import faulty
from study.subject.data.module import DataModule
from study.subject.model import Subject
from study.subject.problem import Outline
from study.subject.recipe import Recipe
from study.tracking.store import Store
from study.training import Hardware

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Made = TypeVar("Made")


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
    def builder(self) -> Callable[[], Subject]:
        """Makes the subject's model, newly initialised from torch's global random state; holds no data."""
        return partial(build, _resolved(self.config["architecture"], self.data), self.data.mean, self.data.std)

    @cached_property
    def outline(self) -> Outline:
        """What an approach may know before the faulty model is trained."""
        trained = self.recipe.checkpoint is None
        return Outline(
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
        """Key of all that determines this job's result."""
        return key_of([self.repair_key, self.config["safeguard"], self.config["metric"]])

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
        package = Path(__file__).parent
        files = [*sorted(package.glob("methods/**/*.py")), *sorted(package.glob("subject/**/*.py"))]
        own = inspect.getsourcefile(type(self.approach)) if self.approach is not None else None
        files += [Path(own)] if own and not Path(own).is_relative_to(package) else []
        return key_of([file.read_text() for file in [*files, package / "training.py"]])


def prepare(config: DictConfig, hydra: DictConfig, overrides: list[str]) -> Job:
    """Build and check everything; raises Refusal, in one sentence, for whatever a user got wrong."""
    try:
        values: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise Refusal(str(error).splitlines()[0]) from error
    settings = _settings(values)
    hardware = _hardware(_made(values, "trainer", Hardware), hydra.launcher)
    data = _made(values, "dataset", DataModule)  # type: ignore[type-abstract]
    data.check()
    recipe = _made(values, "faulty", Recipe).resolved(data.recipe)
    job = Job(
        config=values,
        settings=settings,
        names=_names(values, dict(hydra.runtime.choices)),
        data=data,
        recipe=recipe,
        hardware=hardware,
        approach=_made(values, "method", Approach) if values.get("method") else None,
        safeguard=_made(values, "safeguard", Safeguard),
        suite=_made(values, "metric", Suite),
        store=_made(values, "tracking", Store),
        overrides=overrides,
    )
    _check(job)
    return job


def unadaptable(job: Job) -> str | None:
    """Why the approach cannot be applied to the subject, None if it can."""
    try:
        if job.approach is not None:
            job.approach.check(job.outline)
    except Unadaptable as reason:
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


def _check_shapes(job: Job, model: Subject) -> None:
    """Run two blank inputs through the architecture, whose errors would otherwise come after the data are loaded."""
    blank = torch.zeros(2, *job.data.input_shape)
    try:
        with torch.no_grad():
            logits = model.eval()(blank)
    except Exception as error:  # a user's network may raise anything
        raise Refusal(
            f"architecture={job.names.architecture} cannot take inputs of shape "
            f"{'x'.join(map(str, job.data.input_shape))}: {str(error).splitlines()[0]}"
        ) from error
    if tuple(logits.shape) != (2, job.data.num_classes):
        raise Refusal(
            f"architecture={job.names.architecture} gives {tuple(logits.shape)[1:]} outputs per input; "
            f"dataset={job.names.dataset} has {job.data.num_classes} classes"
        )


def _settings(values: Mapping[str, Any]) -> Settings:
    try:
        return Settings(**{name: values[name] for name in Settings.model_fields})
    except pydantic.ValidationError as error:
        raise Refusal(_sentences(error, "", Settings)) from error


def _made(values: Mapping[str, Any], group: str, kind: type[Made]) -> Made:
    """Instantiate a group's `_target_`, which must be a `kind`; its constructor checks the values."""
    node = dict(values[group])
    try:
        made = instantiate(node, _convert_="all")
    except Exception as error:
        raise _refusal(error, group, node) from error
    if not isinstance(made, kind):
        raise Refusal(f"{group}._target_={node.get('_target_')}: is no {kind.__name__}")
    return made


def _refusal(error: Exception, group: str, node: Mapping[str, Any]) -> Exception:
    """What a constructor complains of, in one sentence that names the settings."""
    if inner := re.search(r"full_key: (\S+)", str(error)):
        group = f"{group}.{inner.group(1)}"
        node = functools.reduce(lambda part, key: part[key], inner.group(1).split("."), node)
    cause: BaseException = error
    while cause.__cause__ is not None and not isinstance(cause, (pydantic.ValidationError, Refusal)):
        cause = cause.__cause__
    if isinstance(cause, Refusal):
        return cause
    if isinstance(cause, pydantic.ValidationError):
        return Refusal(_sentences(cause, group, _target(node)))
    return Refusal(f"{group}: {str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__}")


def _target(node: Mapping[str, Any]) -> Any:
    module, _, name = str(node.get("_target_", "")).rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return None


def _sentences(error: pydantic.ValidationError, group: str, target: Any) -> str:
    """All of pydantic's complaints, each naming the setting, the value and what would be right."""
    told: dict[str, list[str]] = {}
    for problem in error.errors():
        place = [str(part) for part in problem["loc"] if not _is_branch(part)]
        path = ".".join([group, *place] if group else place)
        if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            known = [name for name in inspect.signature(target).parameters if name != "self"] if target else []
            told[f"{path}:"] = [f"there is no such setting; {nearest(place[-1], known)}"]
        elif problem["type"] == "missing_keyword_only_argument":
            told[f"{path}:"] = ["is missing"]
        else:
            complaint = problem["msg"][0].lower() + problem["msg"][1:]
            told.setdefault(f"{path}={problem['input']}:", []).append(complaint)
    return "; ".join(f"{path} {' or '.join(complaints)}" for path, complaints in told.items())


def _is_branch(part: int | str) -> bool:
    """Whether a part of pydantic's location names a member of a union (`constrained-int`, `literal[...]`)."""
    return isinstance(part, str) and ("[" in part or "-" in part or part in ("int", "float", "str", "bool"))


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
        raise Refusal(f"architecture.{unknown[0]}=auto: only {', '.join(follows)} follow from the data set")
    return {name: follows[name] if value == "auto" else value for name, value in architecture.items()}


def build(node: Mapping[str, Any], mean: list[float] | None, std: list[float] | None) -> Subject:
    """A subject's model of an architecture's settings, those that follow from the data set filled in."""
    try:
        net = instantiate(node, _convert_="all")
    except Exception as error:
        raise _refusal(error, "architecture", node) from error
    if not isinstance(net, nn.Module):
        raise Refusal(f"architecture._target_={node.get('_target_')}: is no torch.nn.Module")
    if not hasattr(net, "blueprint"):
        arguments = {name: value for name, value in node.items() if not name.startswith("_")}
        setattr(net, "blueprint", {"class": node["_target_"], "arguments": arguments})  # noqa: B010
    return Subject(net, mean, std)


def _bytes(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
