"""From a composed configuration to the objects of a job, each checked, and nothing run or written yet."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from study.config.compose import Composed, alike
from study.config.instantiate import blueprint_from, made, make_classifier, resolved_architecture
from study.config.machine import shared_out
from study.config.names import Names
from study.config.settings import Settings, resolved, settings_of
from study.config.trust import check_homes, check_names
from study.data.example import example_inputs
from study.data.module import DataModule
from study.errors import NotApplicable, UsageError
from study.metrics.suite import Suite
from study.models.classifier import Classifier
from study.problem import faulty
from study.problem.recipe import Recipe
from study.problem.task import TaskSpec
from study.repairs.approach import Approach
from study.runtime.hardware import Hardware
from study.safeguards.base import Safeguard
from study.storage.blueprint import outside_names
from study.storage.checksums import digest_of
from study.tracking.store import Store


@dataclass(frozen=True)
class Job:
    """The checked objects of one job.

    config: the resolved configuration; overrides: the arguments that made it; architecture: its settings, those that
    follow from the data set filled in; approach: None where the faulty model is measured alone.
    """

    config: dict[str, Any]
    overrides: list[str]
    settings: Settings
    names: Names
    data: DataModule
    architecture: dict[str, Any]
    recipe: Recipe
    hardware: Hardware
    approach: Approach | None
    safeguard: Safeguard
    suite: Suite
    store: Store

    @property
    def make_model(self) -> Callable[[], Classifier]:
        """Makes the classifier, newly initialised from torch's global random state; holds no data."""
        data = self.data
        example = example_inputs(data.kind, data.input_shape, data.bounds, 2)
        return partial(make_classifier, self.architecture, data.mean, data.std, example)

    @cached_property
    def task(self) -> TaskSpec:
        """What an approach may know before the faulty model is trained."""
        trained = self.recipe.checkpoint is None
        history = trained and int(self.recipe.epochs) > 1
        return TaskSpec.of(self.data, self.make_model().eval(), has_history=history)

    @cached_property
    def checkpoint_digest(self) -> str:
        """SHA-256 of the user's checkpoint, empty without one."""
        return digest_of(Path(self.recipe.checkpoint)) if self.recipe.checkpoint else ""

    @property
    def files(self) -> list[Path] | None:
        """What the content of the data and the weights lies in, None where that is unknown."""
        checkpoint = [Path(self.recipe.checkpoint)] if self.recipe.checkpoint else []
        return None if self.data.places is None else [*self.data.places, *checkpoint]

    @property
    def level(self) -> str:
        """Level of the approach, `none` without one."""
        return "none" if self.approach is None else self.approach.level

    @property
    def own_classes(self) -> set[str]:
        """What a stored model may name outside this package: the user's own network, and what it is made of."""
        return set(outside_names(blueprint_from(self.architecture)))

    @property
    def obstacle(self) -> str | None:
        """Why the approach or the safeguard cannot be applied to the task, None if both can."""
        if self.approach is None:
            return None
        try:
            self.approach.check(self.task)
            self.safeguard.check(self.task)
        except NotApplicable as reason:
            return str(reason)
        return None


def prepare(config: DictConfig, hydra: DictConfig, overrides: list[str]) -> Job:
    """Build and check everything; raises UsageError, in one sentence, for whatever a user got wrong."""
    values = resolved(config)
    settings = settings_of(values)
    check_names(values, hydra)  # again: a launcher's process, and a search, may come to other values
    check_homes(values, hydra)
    hardware = shared_out(made(values, "trainer", Hardware), hydra.launcher)
    data = made(values, "dataset", DataModule)  # type: ignore[type-abstract]
    data.adopt(values["architecture"])
    data.check()
    job = Job(
        config=values,
        overrides=overrides,
        settings=settings,
        names=Names.of(config, dict(hydra.runtime.choices), overrides, values),
        data=data,
        architecture=resolved_architecture(values["architecture"], data),
        recipe=made(values, "faulty", Recipe).resolved(data.recipe),
        hardware=hardware,
        approach=made(values, "method", Approach) if values.get("method") else None,  # type: ignore[type-abstract]
        safeguard=made(values, "safeguard", Safeguard),  # type: ignore[type-abstract]
        suite=made(values, "metric", Suite),
        store=made(values, "tracking", Store),
    )
    _check(job)
    return job


def prepare_all(jobs: Iterable[Composed]) -> list[Job]:
    """Prepare every job; what is built for one serves those that differ from it in their seeds alone."""
    built: dict[int, Job] = {}
    prepared = []
    for job, first in alike(jobs):
        if job is first:
            built[id(first)] = prepare(job.config, job.hydra, job.overrides)
        prepared.append(built[id(first)] if job is first else _reseeded(built[id(first)], job))
    return prepared


def _reseeded(job: Job, composed: Composed) -> Job:
    """A prepared job under the seeds of another one, which has the same values otherwise."""
    other = dataclasses.replace(
        job,
        config=composed.values,
        overrides=composed.overrides,
        settings=settings_of(composed.values),
        names=Names.of(composed.whole, composed.choices, composed.overrides, composed.values),
        data=copy.copy(job.data),
    )
    vars(other).update(task=job.task)  # it knows no seed
    return other


def _check(job: Job) -> None:
    """What no single object can see."""
    _ = job.hardware.device
    if job.recipe.checkpoint is not None:
        faulty.checkpoint_fits(job.task.model.get_submodule("net"), Path(job.recipe.checkpoint))
    elif int(job.recipe.epochs) == 0:
        _check_trained(job)
    _check_shapes(job.names, job.task, job.architecture.get("num_classes"))
    job.store.check()


def _check_trained(job: Job) -> None:
    """Where nothing is trained, the network has to bring its weights; one of the user's own is taken at their word."""
    brings = job.architecture.get("pretrained") or job.architecture.get("weights")
    own = not str(job.architecture.get("_target_")).startswith("study.")
    if not brings and not (own and job.config["faulty"]["epochs"] == 0):
        raise UsageError(
            f"faulty.epochs={job.config['faulty']['epochs']}: nothing is trained, and architecture="
            f"{job.names.architecture} comes without trained weights; set architecture.pretrained=true, "
            "faulty.checkpoint=FILE, or faulty.epochs=30"
        )


def _check_shapes(names: Names, task: TaskSpec, num_classes: Any) -> None:
    """Run two example inputs through the architecture, whose errors would otherwise come after the data are loaded.

    num_classes: as the architecture's settings say, if they do.
    """
    if isinstance(num_classes, int) and num_classes != task.num_classes:
        raise UsageError(
            f"architecture.num_classes={num_classes}: should be {task.num_classes}, as dataset={names.dataset_option} "
            "has so many classes; auto follows it"
        )
    try:
        with torch.no_grad():
            logits = task.model(task.example(2))
    except Exception as error:  # a user's network may raise anything
        raise UsageError(
            f"architecture={names.architecture} cannot take inputs of shape "
            f"{'x'.join(map(str, task.input_shape))}: {str(error).splitlines()[0]}"
        ) from error
    if tuple(logits.shape) != (2, task.num_classes):
        raise UsageError(
            f"architecture={names.architecture} gives {'x'.join(map(str, logits.shape[1:]))} outputs per input; "
            f"dataset={names.dataset_option} has {task.num_classes} classes"
        )
