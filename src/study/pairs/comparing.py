"""Measuring two models and recording that as a job: the same result file, pictures and run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from study.config.instantiate import made
from study.config.job import Job, prepare
from study.config.keys import Keys
from study.config.names import Names
from study.config.values import check_values
from study.job import record
from study.metrics.comparing import compared
from study.metrics.measured import Measured
from study.metrics.standing import Standing
from study.pairs.models import Model, read
from study.pairs.request import SIDES, Request
from study.problem.recipe import Recipe
from study.repairs.changes import added_parameters, changed_share, layer_changes, relative_change
from study.repairs.costs import COSTS
from study.repairs.run import RepairResult
from study.runtime.progress import shown
from study.storage.files import key_of
from study.storage.models import weights_hash
from study.storage.paths import multirun
from study.tracking import ledger
from study.tracking.about import About
from study.tracking.finding import Finding
from study.tracking.unfinished import running

METHOD = "compare"
"""In place of an approach: what repaired the model is not known."""
Crashed = Callable[[DictConfig, About, Path, Exception], None]

log = logging.getLogger(__name__)


def compare(request: Request, crashed: Crashed) -> str:
    """Measure and record the two models of a request, unless an equal job is finished; returns the outcome.

    crashed: records an exception that ends the job, which is raised all the same.

    Raises:
        UsageError: Something of the request cannot be used; nothing is written then.
    """
    started = time.time()
    check_values(request.job)
    job = prepare(request.job.config, request.job.hydra, request.job.overrides)
    torch.set_num_threads(int(job.hardware.threads))
    with shown(request.job.config.trainer.progress):
        job.data.load(job.settings.subject.seed)
        before, after = (
            read(side, getattr(request, side), job, normalised=side in request.normalised) for side in SIDES
        )
        job = _job_of(request, job, before, after)
        keys = keys_of(job, before, after)
        about = About(
            experiment=job.store.experiment,
            run_name=job.names.run,
            tags={**job.names.tags(), **keys.tags()},
            config=job.config,
            sweep="",
            started=started,
        )
        if not job.settings.force and (finished := ledger.finished(keys.job, job.store)):
            log.info("%s: %s", job.names.run, finished)
            return "skipped"
        folder = multirun() / datetime.now().strftime("%Y-%m-%d/%H-%M-%S-%f")
        with running(folder):
            try:
                repaired, finding = measured(job, before, after)
                return record(job, keys, about, folder, repaired, finding)
            except Exception as error:
                crashed(OmegaConf.create(job.config), about, folder, error)
                raise


def _job_of(request: Request, job: Job, before: Model, after: Model) -> Job:
    """The job with both models in its configuration and its names.

    Weights that go into the architecture as a user's checkpoint does are one: the subject is then that of the
    approaches that repair the same checkpoint.
    """
    config, overrides = request.job.config.copy(), request.job.overrides
    if _is_checkpoint(before):
        OmegaConf.update(config, "faulty.checkpoint", str(Path(request.before).expanduser().absolute()))
    names = Names.of(config, request.job.choices, overrides)
    if not _is_checkpoint(before):
        network = names.architecture if before.form == "weights" else _network(before)
        names = replace(names, architecture=network, subject=f"{names.dataset} / {network}, {before.name}")
    pair = {
        side: {"file": getattr(request, side), "sha256": model.digest, "normalised": model.normalised}
        for side, model in zip(SIDES, (before, after), strict=True)
    }
    values = {**job.config, "faulty": OmegaConf.to_container(config.faulty, resolve=True), "method": pair}
    return replace(
        job,
        config=values,
        overrides=[*overrides, *(f"{side}={getattr(request, side)}" for side in SIDES)],
        names=replace(names, method=METHOD, approach=f"{METHOD} {after.name}"),
        recipe=made(values, "faulty", Recipe).resolved(job.data.recipe),
    )


def _is_checkpoint(before: Model) -> bool:
    return before.form == "weights" and before.normalised is True


def _network(model: Model) -> str:
    """What to call the network of a model that is not of the job's architecture."""
    if not model.stored:
        return model.form
    return type(getattr(model.module, "net", model.module)).__name__.lower()


def keys_of(job: Job, before: Model, after: Model) -> Keys:
    """The keys of a comparison: of the subject alone, then of each model's content, wherever its file lies."""
    base = Keys.of(replace(job, config={name: value for name, value in job.config.items() if name != "method"}))
    own = [] if _is_checkpoint(before) else before.identity  # a checkpoint is a part of them already
    subject, faulty = (key_of([key, own]) if own else key for key in (base.subject, base.faulty))
    return replace(
        base,
        subject=subject,
        faulty=faulty,
        repair=key_of([METHOD, base.repair, own, after.identity]),
        job=key_of([METHOD, base.job, own, after.identity]),
        row=key_of([METHOD, after.identity]),
    )


def measured(job: Job, before: Model, after: Model) -> tuple[RepairResult, Finding]:
    """Run both models over the test split, compare their answers, attack both."""
    start, seed = time.perf_counter(), job.settings.seed
    if job.data.random_splits:
        log.warning("the splits are drawn at random: the models may have been trained on test inputs")
    splits = {name: split.to(job.hardware.device) for name, split in job.data.splits.items()}
    standing = Standing.of(before.module, splits, before.name, seed, "before")
    old, new = before.module, after.module
    logits, found = compared(standing, old, new, job.suite, job.data.threat, seed)
    masked = job.suite.gradient_masking(found.values)
    found |= Measured({"time/evaluation": time.perf_counter() - start})
    has_weights = bool(list(old.parameters())) and bool(list(new.parameters()))
    layers = layer_changes(old, new) if has_weights else []
    if has_weights:
        found |= _size(old, new, relative_change(layers))
    changed = weights_hash(old) != weights_hash(new) if has_weights else before.identity != after.identity
    kept = new if after.stored else None
    finding = Finding(model=kept, before=standing.logits, after=logits, measured=found, layers=layers, masked=masked)
    return RepairResult(outcome="repaired", changed=changed, layers=layers), finding


def _size(old: nn.Module, new: nn.Module, relative: float | None) -> Measured:
    """How far the weights of two models are apart, under the names that a repair's have."""
    costs = {"weights_changed": changed_share(old, new), "parameters_added": added_parameters(old, new)}
    values = {**costs, **({} if relative is None else {"relative_change": relative})}
    return Measured(
        {f"cost/{name}": float(value) for name, value in values.items()},
        {f"cost/{name}": COSTS[f"cost/{name}"] for name in values},
    )
