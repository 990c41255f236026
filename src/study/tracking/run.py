"""One job's result as one flat MLflow run."""

from __future__ import annotations

import contextlib
import getpass
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from study.metrics.description import Description
from study.tracking.inputs import dataset_of
from study.tracking.logged_models import FAULTY_KEY, NOTE, Logged, delete_models_of, log_faulty, log_repaired
from study.tracking.result import ARTIFACTS, REPAIRED, Result
from study.tracking.summary import sentence
from study.tracking.target import Target

if TYPE_CHECKING:
    from mlflow.entities import Dataset, Metric, Run

FORBIDDEN = re.compile(r"[^\w\-./: ]")
"""Characters that MLflow refuses in names of tags, params and metrics."""
LONGEST_PARAM, LONGEST_TAG = 6000, 8000
"""Characters of a value that MLflow keeps; it cuts longer ones itself, but with a warning for each."""
DIGITS = 6
"""Significant digits of a metric: MLflow's tables show all that it has. The result file keeps the exact value."""

PROPERTY, NOT_APPLICABLE = "metric.", "not_applicable"
"""Tags of what a run states about its metrics: `metric.NAME` for each (its place among them and the fields of its
`Description` that differ from the defaults, as JSON), and the reasons of those that do not apply, as JSON by NAME."""
DESCRIPTION = TypeAdapter(Description)


def milliseconds(seconds: float) -> int:
    """MLflow's unit of time."""
    return round(seconds * 1000)


def write_run(target: Target, result: Result, job: Path) -> str:
    """Write a result, the artifacts in the job's folder and its models; returns the run's id.

    The status comes last, so that a run which was interrupted is never taken for a whole one; on an exception the run
    is deleted again.
    """
    faulty, started = log_faulty(target, result, job), milliseconds(result.started)
    run = target.client.create_run(target.experiment_id, started, _tags(result), result.run_name)
    try:
        _fill(target, run, result, job / ARTIFACTS, faulty)
        target.client.set_terminated(run.info.run_id, result.status, milliseconds(result.ended))
    except BaseException:
        # If the store takes nothing any more, the run stays RUNNING, which nobody counts and the next write removes.
        with contextlib.suppress(Exception):
            delete_run(target, run.info.run_id)
        raise
    return str(run.info.run_id)


def delete_run(target: Target, run_id: str) -> None:
    """Delete a run and the models that it logged."""
    delete_models_of(target, run_id)
    target.client.delete_run(run_id)


def _fill(target: Target, run: Run, result: Result, artifacts: Path, faulty: Logged | None) -> None:
    """Artifacts, models, data set, params and metrics of a run."""
    from mlflow.entities import DatasetInput, InputTag, LoggedModelInput, LoggedModelOutput, Param

    client, run_id = target.client, str(run.info.run_id)
    files = sorted(artifacts.iterdir()) if artifacts.is_dir() else []
    own = [file for file in files if file.name != REPAIRED]  # the repaired model is an artifact of its own
    target.place(own, run.info.artifact_uri, lambda file: client.log_artifact(run_id, file))
    repaired = log_repaired(target, result, artifacts / REPAIRED, run_id)
    dataset = dataset_of(result)
    if dataset or faulty:
        context = [InputTag("mlflow.data.context", "repair")]
        data = [DatasetInput(dataset, context)] if dataset else []
        client.log_inputs(run_id, data, [LoggedModelInput(faulty.model_id)] if faulty else [])
    if repaired:
        client.log_outputs(run_id, [LoggedModelOutput(repaired.model_id, 0)])
    params = [Param(_name(name), value[:LONGEST_PARAM]) for name, value in result.params.items()]
    client.log_batch(run_id, metrics=_metrics(result, {"before": faulty, "after": repaired}, dataset), params=params)


def stated(tags: Mapping[str, str]) -> dict[str, Description]:
    """What the metrics that apply say about themselves, in their order, from the tags of a run.

    Tags that cannot be read (cut off, set by somebody else) are passed over.
    """
    found: list[tuple[int, str, Description]] = []
    left_out: set[str] = set()
    with contextlib.suppress(KeyError, TypeError, ValueError):
        left_out = set(json.loads(tags[NOT_APPLICABLE]))
    for tag, text in tags.items():
        name = tag.removeprefix(PROPERTY)
        if name == tag or name in left_out:
            continue
        with contextlib.suppress(KeyError, TypeError, ValueError):
            fields = dict(json.loads(text))
            found.append((int(fields.pop("place")), name, DESCRIPTION.validate_python(fields)))
    return {name: description for _, name, description in sorted(found, key=lambda item: item[0])}


def statements(properties: Mapping[str, Description], not_applicable: Mapping[str, str]) -> dict[str, str]:
    """The tags that `stated` and the report read."""
    tags = {}
    for place, (name, description) in enumerate(properties.items()):
        fields = DESCRIPTION.dump_python(description, exclude_defaults=True)
        tags[PROPERTY + _name(name)] = _compact({"place": place, **fields})
    if not_applicable:
        tags[NOT_APPLICABLE] = _compact({_name(name): reason for name, reason in not_applicable.items()})
    return tags


def _tags(result: Result) -> dict[str, str]:
    tags = {_name(name): value[:LONGEST_TAG] for name, value in result.tags.items()}
    described = statements(result.properties, result.not_applicable)
    tags |= {name: value[:LONGEST_TAG] for name, value in described.items()}
    tags |= {"key": result.key, "mlflow.source.name": "study", "mlflow.source.type": "LOCAL", "mlflow.user": _user()}
    if result.origin:
        tags |= {FAULTY_KEY: result.origin.faulty, "checkpoint": result.origin.checkpoint}
    if commit := tags.get("git_commit"):
        tags["mlflow.source.git.commit"] = commit
    return {"run_type": "job", NOTE: sentence(result), **{name: value for name, value in tags.items() if value}}


def _compact(values: Mapping[str, object]) -> str:
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False)


def _metrics(result: Result, models: Mapping[str, Logged | None], dataset: Dataset | None) -> list[Metric]:
    """Final values at step 0 and the curves' points, all stamped with the end of the job.

    models: the logged model that `before/NAME` or `after/NAME` was measured of.
    """
    from mlflow.entities import Metric

    ended = milliseconds(result.ended)
    name_and_digest = (dataset.name, dataset.digest) if dataset else (None, None)

    def final(name: str, value: float) -> Metric:
        model, key = models.get(name.partition("/")[0]), _name(name)
        if model is None or math.isnan(value) or key in model.metrics:  # of a model MLflow would show NaN as 0
            return Metric(key, rounded(value), ended, 0)
        return Metric(key, rounded(value), ended, 0, model.model_id, *name_and_digest)

    points = [
        Metric(_name(name), rounded(value), ended, step)
        for name, curve in result.curves.items()
        for step, value in curve
        if name not in result.metrics
    ]
    return [final(name, value) for name, value in result.metrics.items()] + points


def rounded(value: float) -> float:
    """A value as people read it: whole numbers are exact, others have six significant digits."""
    return value if value.is_integer() else float(f"{value:.{DIGITS}g}")


def _name(name: str) -> str:
    return FORBIDDEN.sub("_", name)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user id has no name
        return "unknown"
