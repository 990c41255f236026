"""One job, top to bottom: subject, repair, safeguard, measure, record."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from study.config.job import Job, unadaptable
from study.data.split import Batch, Split
from study.problem.faulty import from_checkpoint, load_or_train
from study.problem.prediction import predict
from study.problem.problem import Problem
from study.repair.cache import keep, kept
from study.repair.run import Repair, repair
from study.runtime.memory import keep_freed_memory
from study.runtime.randomness import stream
from study.storage.files import locked, write_atomically
from study.storage.paths import cache
from study.tracking.artifacts import Evidence, write_artifacts
from study.tracking.result import RESULT, Result, flattened

log = logging.getLogger(__name__)
ATTACKED_FROM_FILES = 2000


@dataclass
class Measured:
    """What became of a job: its metrics, the predictions behind them, and how the repair ended."""

    repair: Repair
    metrics: dict[str, float] = field(default_factory=dict)
    before: Tensor | None = None
    after: Tensor | None = None
    model: nn.Module | None = None
    masked: bool | None = None
    code_changed: bool = False


def run(job: Job, folder: Path, sweep: str) -> str:
    """Do a job and record it in `folder` and in the store; returns its outcome, `skipped` if it is finished already."""
    started = time.time()
    torch.set_num_threads(int(job.hardware.threads))
    keep_freed_memory()
    job.load_data()
    if not job.settings.force and _finished(job):
        return "skipped"
    if reason := unadaptable(job):
        measured = Measured(Repair("unadaptable", reason))
    else:
        problem = subject(job)
        measured = repaired(job, problem)
        measure(job, problem, measured)
    record(job, measured, folder, sweep, started)
    return measured.repair.outcome


def subject(job: Job) -> Problem:
    """The faulty model, trained now if no job has done so before, and the data to repair it with."""
    device, splits = job.hardware.device, job.data.splits
    train, validation, repair_split = (splits[name].to(device) for name in ("train", "validation", "repair"))
    if job.recipe.checkpoint is None:
        seed = job.settings.subject.seed
        faulty = load_or_train(job.faulty_folder, job.builder, job.recipe, train, validation, seed, job.hardware)
    else:
        faulty = from_checkpoint(job.builder, Path(job.recipe.checkpoint), job.hardware)
        if job.data.random_splits:
            log.warning("the splits are drawn at random: the checkpoint may have been trained on test inputs")
    right = predict(faulty.model, repair_split).argmax(1) == repair_split.labels
    return Problem(
        faulty=faulty.model,
        history=faulty.history,
        train=train,
        validation=validation,
        repair_set=repair_split,
        failing=(~right).nonzero().flatten(),
        passing=right.nonzero().flatten(),
        task=job.task,
        recipe=job.recipe,
        seed=job.settings.seed,
        build=job.builder,
    )


def repaired(job: Job, problem: Problem) -> Measured:
    """The repair, reused if the same one was computed before, and the safeguard around it."""
    if job.approach is None:
        return Measured(Repair("repaired"), model=problem.faulty)
    with locked(job.repair_folder.with_suffix(".lock")):
        result = None if job.settings.force else kept(job.repair_folder, _own_classes(job))
        code_changed = result is not None and result.code != job.code
        if result is None:
            log.info("%s: repairing %d failing inputs", job.names.run, len(problem.failing))
            result = repair(job.approach, problem, job.hardware)
            keep(result, job.repair_folder, job.code)
    if code_changed:
        log.warning("%s: a repair computed by other code is reused; force=true runs it again", job.names.run)
    measured = Measured(result, code_changed=code_changed)
    if result.model is not None:
        measured.model = job.safeguard.wrap(problem, result.model.to(problem.device).eval())
    return measured


def measure(job: Job, problem: Problem, measured: Measured) -> None:
    """Run the faulty and the repaired model once each over the test split, then the attacks; fill in the metrics."""
    start = time.perf_counter()
    test = job.data.splits["test"].to(problem.device)
    measured.before = before = predict(problem.faulty, test)
    after_model = measured.model if measured.model is not None else problem.faulty
    measured.after = after = before if after_model is problem.faulty else predict(after_model, test)
    values = job.suite.measure(before, after, test.labels, test.groups)
    if measured.model is not None and job.data.box is not None:
        right = (before.argmax(1) == test.labels) & (after.argmax(1) == test.labels)
        attacked = _in_memory(test, job.settings.seed)
        robustness = job.suite.attack(
            problem.faulty,
            after_model,
            attacked.inputs,
            attacked.labels,
            right[attacked.indices],
            seed=job.settings.seed,
            box=job.data.box,
            epsilon=job.data.epsilon,
        )
        measured.masked = job.suite.gradient_masking(robustness)
        values |= robustness
    if job.approach is None or measured.model is None:  # nothing was changed: there is no `after`
        values = {name: value for name, value in values.items() if name.startswith("before/")}
    if job.approach is not None:
        values["time/repair"] = measured.repair.seconds
        values |= {f"cost/{name}": value for name, value in measured.repair.costs.items()}
    values["time/evaluation"] = time.perf_counter() - start
    measured.metrics = values


def record(job: Job, measured: Measured, folder: Path, sweep: str, started: float) -> None:
    """Write the result files, which are the truth, then the store; note where the result lies."""
    evidence = Evidence(
        data=job.data,
        before=measured.before,
        after=measured.after if job.approach is not None else None,
        repair_folder=job.repair_folder if measured.repair.model is not None else None,
        config=job.config,
        overrides=job.overrides,
        keys={"job": job.key, "repair": job.repair_key, "faulty": job.faulty_key},
    )
    write_artifacts(folder / "artifacts", evidence)
    result = Result(
        key=job.key,
        experiment=job.store.experiment,
        run_name=f"{job.names.run} s{job.settings.seed}",
        status="FINISHED",
        tags=tags(job, measured, sweep),
        params=flattened(job.config),
        metrics=measured.metrics,
        curves=measured.repair.curves,
        started=started,
        ended=time.time(),
    )
    result.write(folder)
    job.store.write(folder, force=job.settings.force)
    write_atomically(_place(job), json.dumps({"folder": str(folder)}))
    log.info("%s", summary(result))


def tags(job: Job, measured: Measured, sweep: str) -> dict[str, str]:
    """The tags of a job's run: what the UI and the report group and filter by."""
    known = {
        "method": job.names.method,
        "level": job.approach.level if job.approach is not None else "none",
        "dataset": job.names.dataset,
        "architecture": job.names.architecture,
        "seed": str(job.settings.seed),
        "subject_seed": str(job.settings.subject.seed),
        "safeguard": job.names.safeguard,
        "outcome": measured.repair.outcome if job.approach is not None else "faulty",
        "reason": measured.repair.reason,
        "changed": str(measured.repair.changed).lower(),
        "sweep": sweep,
        "key": job.key,
        "code_changed": str(measured.code_changed).lower(),
    }
    if measured.masked is not None and job.approach is not None:
        known["gradient_masking"] = str(measured.masked).lower()
    return {name: value for name, value in known.items() if value}


def summary(result: Result) -> str:
    """A job in one line."""
    outcome = result.tags.get("outcome", "crashed")
    told = [f"{result.run_name}: {outcome}"]
    if reason := result.tags.get("reason"):
        told[0] += f" ({reason})"
    shown = {
        "before/accuracy": "accuracy before {:.2%}",
        "after/accuracy": "after {:.2%}",
        "after/repair_rate": "repair rate {:.1%}",
        "after/negative_flip_rate": "negative flips {:.2%}",
        "time/repair": "{:.1f} s",
    }
    return ", ".join(
        told + [text.format(result.metrics[name]) for name, text in shown.items() if name in result.metrics]
    )


def recorded(job: Job) -> Path | None:
    """The folder of a finished job's result, whatever store it was written to; None if there is none."""
    if not _place(job).exists():
        return None
    folder = Path(json.loads(_place(job).read_text())["folder"])
    return folder if (folder / RESULT).exists() and Result.read(folder).status == "FINISHED" else None


def _in_memory(test: Split, seed: int) -> Batch:
    """The inputs that attacks choose from: the whole test split, or a seeded part of one that lies in files."""
    if isinstance(test.inputs, Tensor):
        return test.tensors()
    return test.fetch(torch.randperm(len(test), generator=stream(seed, "attack", "files"))[:ATTACKED_FROM_FILES])


def _finished(job: Job) -> bool:
    """Whether the job is finished; one that is finished in another store is recorded in this one."""
    if job.store.finished(job.key):
        log.info("%s s%d: finished already (force=true runs it again)", job.names.run, job.settings.seed)
        return True
    folder = recorded(job)
    if folder is None:
        return False
    job.store.write(folder)
    log.info("%s s%d: finished elsewhere; recorded in this store", job.names.run, job.settings.seed)
    return True


def _place(job: Job) -> Path:
    """The file that says in which folder a finished job's result lies."""
    return cache() / "jobs" / f"{job.key}.json"


def _own_classes(job: Job) -> set[str]:
    """The class outside this package that a stored model may name: the user's own network."""
    return {str(job.config["architecture"]["_target_"])}
