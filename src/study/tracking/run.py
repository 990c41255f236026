"""One job's result as one flat MLflow run."""

from __future__ import annotations

import contextlib
import getpass
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from study.metrics.description import Description
from study.tracking.result import Result

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

FORBIDDEN = re.compile(r"[^\w\-./: ]")
"""Characters that MLflow refuses in names of tags, params and metrics."""
LONGEST_PARAM, LONGEST_TAG = 6000, 8000
"""Characters of a value that MLflow keeps; it cuts longer ones itself, but with a warning for each."""

PROPERTY, NOT_APPLICABLE = "metric.", "not_applicable"
"""Tags of what a run states about its metrics: `metric.NAME` for each (its place among them and the fields of its
`Description` that differ from the defaults, as JSON), and the reasons of those that do not apply, as JSON by NAME."""
DESCRIPTION = TypeAdapter(Description)


def milliseconds(seconds: float) -> int:
    """MLflow's unit of time."""
    return round(seconds * 1000)


def write_run(client: MlflowClient, experiment_id: str, result: Result, artifacts: Path) -> str:
    """Write a result and the files in `artifacts`; returns the run's id.

    The status comes last, so that a run which was interrupted is never taken for a whole one; on an exception the run
    is deleted again.
    """
    from mlflow.entities import Param

    run = client.create_run(experiment_id, milliseconds(result.started), _tags(result), result.run_name)
    try:
        params = [Param(_name(name), value[:LONGEST_PARAM]) for name, value in result.params.items()]
        client.log_batch(run.info.run_id, metrics=_metrics(result), params=params)
        if artifacts.is_dir():
            client.log_artifacts(run.info.run_id, str(artifacts))
        client.set_terminated(run.info.run_id, result.status, milliseconds(result.ended))
    except BaseException:
        # If the store takes nothing any more, the run stays RUNNING, which nobody counts and the next write removes.
        with contextlib.suppress(Exception):
            client.delete_run(run.info.run_id)
        raise
    return str(run.info.run_id)


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
    if commit := tags.get("git_commit"):
        tags["mlflow.source.git.commit"] = commit
    return {"run_type": "job", **tags}


def _compact(values: Mapping[str, object]) -> str:
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False)


def _metrics(result: Result) -> list[Metric]:
    """Final values at step 0 and the curves' points, all stamped with the end of the job."""
    from mlflow.entities import Metric

    ended = milliseconds(result.ended)
    final = [Metric(_name(name), value, ended, 0) for name, value in result.metrics.items()]
    points = [
        Metric(_name(name), value, ended, step)
        for name, curve in result.curves.items()
        for step, value in curve
        if name not in result.metrics
    ]
    return final + points


def _name(name: str) -> str:
    return FORBIDDEN.sub("_", name)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user id has no name
        return "unknown"
