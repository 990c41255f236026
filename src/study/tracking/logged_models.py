"""The faulty and the repaired model as logged models of MLflow: safetensors and blueprint, no flavor and no pickle."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from study.tracking.result import Result
from study.tracking.summary import sentence, subject
from study.tracking.target import Target

FAULTY_FILES = ("faulty.safetensors", "model.json", "training.json")
"""Of the cached faulty model, the weights first; the epoch before it stays in the cache."""
FAULTY_KEY = "faulty_key"
"""Tag of a logged faulty model, by which the runs that share it find it."""
NOTE = "mlflow.note.content"
"""Tag of a run or a model that MLflow's UI shows as its description."""
FORBIDDEN = re.compile(r"[/:.%\"']")
"""Characters that MLflow refuses in the name of a model."""


@dataclass(frozen=True)
class Logged:
    """A logged model of MLflow.

    metrics: those that it has: of the faulty model the first run's stay, since MLflow would list those of all its runs.
    """

    model_id: str
    metrics: frozenset[str] = frozenset()


def log_faulty(target: Target, result: Result, job: Path) -> Logged | None:
    """The faulty model of a job, which is logged now if no run did so before.

    None where its files are not to be had: it is a checkpoint of the user's own, or the cache was cleaned. On a server
    two jobs may log it at the same moment, each once.
    """
    if result.origin is None or not result.origin.folder:
        return None
    key, folder = result.origin.faulty, job.resolve() / result.origin.folder
    for found in target.client.search_logged_models([target.experiment_id], f"tags.{FAULTY_KEY} = '{key}'"):
        if found.status.value == "READY":
            return Logged(str(found.model_id), frozenset(metric.key for metric in found.metrics or []))
        if target.local:  # nobody else is writing it: that write was killed
            target.client.delete_logged_model(found.model_id)
    files = [folder / name for name in FAULTY_FILES if (folder / name).is_file()]
    if not (folder / FAULTY_FILES[0]).is_file():
        return None
    dataset, architecture, seed = (result.tags.get(tag, "") for tag in ("dataset", "architecture", "subject_seed"))
    note = f"The faulty model of {subject(result)} (seed {seed})."
    return _log(target, f"faulty {dataset} {architecture} s{seed}", files, {FAULTY_KEY: key, NOTE: note})


def log_repaired(target: Target, result: Result, folder: Path, run_id: str) -> Logged | None:
    """Log the repaired model whose files lie in `folder` as one of a run's; None where there is none."""
    if not folder.is_dir():
        return None
    return _log(target, result.run_name, sorted(folder.iterdir()), {"key": result.key, NOTE: sentence(result)}, run_id)


def delete_models_of(target: Target, run_id: str) -> None:
    """Delete the models that a run logged."""
    for model in target.client.search_logged_models([target.experiment_id], f"source_run_id = '{run_id}'"):
        target.client.delete_logged_model(model.model_id)


def _log(target: Target, name: str, files: Iterable[Path], tags: dict[str, str], run_id: str | None = None) -> Logged:
    """One logged model, READY once its files are there."""
    kind = "faulty" if FAULTY_KEY in tags else "repaired"
    client = target.client
    model = client.create_logged_model(target.experiment_id, FORBIDDEN.sub("_", name), run_id, tags, model_type=kind)
    model_id = str(model.model_id)
    target.place(files, model.artifact_location, lambda file: client.log_model_artifact(model_id, file))
    client.finalize_logged_model(model_id, "READY")
    return Logged(model_id)
