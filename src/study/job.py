"""One job, top to bottom: problem, repair, safeguard, measure, record."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from study.config import known
from study.config.job import Job
from study.config.keys import Keys
from study.config.origin import origin_of
from study.data.split import Split
from study.metrics.comparing import compared
from study.metrics.measured import Measured
from study.metrics.standing import Standing
from study.problem.faulty import FaultySource
from study.problem.problem import Problem
from study.repairs import cache
from study.repairs.costs import described
from study.repairs.run import RepairResult
from study.runtime.memory import keep_freed_memory
from study.safeguards import guarding
from study.tracking import ledger
from study.tracking.about import About, ended
from study.tracking.artifacts import left_behind, write_artifacts
from study.tracking.finding import Finding
from study.tracking.result import ARTIFACTS
from study.tracking.summary import summary

log = logging.getLogger(__name__)


def run(job: Job, about: About, folder: Path) -> str:
    """Do a job and record it in `folder` and in the store; returns its outcome, `skipped` if it is finished already."""
    torch.set_num_threads(int(job.hardware.threads))
    keep_freed_memory()
    stamps = known.stamps(job.files)
    job.data.load(job.settings.subject.seed)
    keys = Keys.of(job)
    known.leave_note(job, keys.job, stamps)
    about.tags.update(keys.tags())
    if not job.settings.force and (finished := ledger.finished(keys.job, job.store)):
        log.info("%s: %s", job.names.run, finished)
        return "skipped"
    if reason := job.obstacle:
        return record(job, keys, about, folder, RepairResult(outcome="unadaptable", reason=reason), Finding())
    splits = {name: split.to(job.hardware.device) for name, split in job.data.splits.items()}
    problem = problem_of(job, keys, splits)
    standing = Standing.of(problem.faulty, splits, job.recipe.checkpoint, job.settings.seed)
    repaired, model = guarded(job, problem, repair(job, keys, problem))
    return record(job, keys, about, folder, repaired, measure(job, problem, standing, repaired, model))


def problem_of(job: Job, keys: Keys, splits: Mapping[str, Split]) -> Problem:
    """The faulty model, trained now if no job has done so before, and the data to repair it with."""
    source = FaultySource(job.make_model, job.recipe, job.settings.subject.seed, job.hardware)
    faulty = source.load(keys.faulty_folder, splits["train"], splits["validation"])
    if job.recipe.checkpoint is not None and job.data.random_splits:
        log.warning("the splits are drawn at random: the checkpoint may have been trained on test inputs")
    fresh = job.make_model if int(job.recipe.epochs) else None  # by a recipe without epochs none becomes a model anew
    return Problem.posed_by(faulty, splits, job.task, job.recipe, job.settings.seed, fresh)


def repair(job: Job, keys: Keys, problem: Problem) -> RepairResult | None:
    """The repair, reused if the same one was computed before; None without an approach."""
    if job.approach is None:
        return None
    place = keys.repair_folder, keys.code, job.own_classes
    result = cache.repair_once(job.approach, problem, job.hardware, *place, again=job.settings.force)
    if result.code != keys.code:
        log.warning("%s: a repair computed by other code is reused; force=true runs it again", job.names.run)
    return result


def guarded(job: Job, problem: Problem, repaired: RepairResult | None) -> tuple[RepairResult | None, nn.Module | None]:
    """The repair, which the safeguard may refuse, and the module to be measured, stored and exported: None without."""
    return (None, problem.faulty) if repaired is None else guarding.guarded(job.safeguard, problem, repaired)


def measure(
    job: Job, problem: Problem, standing: Standing, repaired: RepairResult | None, model: nn.Module | None
) -> Finding:
    """Run `model` over the test split, compare its answers with the faulty model's, then attack both."""
    start, before = time.perf_counter(), standing.logits
    after, measured = compared(standing, problem.faulty, model, job.suite, job.data.threat, job.settings.seed)
    masked = None if repaired is None or model is None else job.suite.gradient_masking(measured.values)
    if repaired is None or model is None:  # nothing was changed: there is no `after`
        after, measured = before, measured.of_faulty()
    measured |= Measured({"time/evaluation": time.perf_counter() - start})
    if repaired is None:
        return Finding(before=before, after=before, measured=measured)
    measured |= described(repaired)
    layers = repaired.layers
    return Finding(model=model, before=before, after=after, measured=measured, layers=layers, masked=masked)


def record(job: Job, keys: Keys, about: About, folder: Path, repaired: RepairResult | None, finding: Finding) -> str:
    """Write the result files, which are the truth, then ledger and store; returns the outcome.

    What is in the ledger is not measured again: if the store is not reached, the same command brings it up to date.
    """
    papers = {"config.yaml": job.config, "overrides.yaml": job.overrides, "keys.json": asdict(keys)}
    stored = repaired is not None and finding.model is repaired.model  # no safeguard made another one of it
    write_artifacts(folder / ARTIFACTS, job.data, finding, papers, keys.repair_folder, stored=stored)
    ending = ended(repaired, job.level, finding.masked, keys.code)
    curves = {} if repaired is None else repaired.curves
    result = about.result(keys.job, ending, finding.measured, curves, origin_of(job, keys, folder))
    result.write(folder)
    ledger.enter(keys.job, folder)
    log.info("%s", summary(result))
    log.info("%s", left_behind(folder, finding))
    job.store.write(folder, force=job.settings.force)
    return result.tags["outcome"]
