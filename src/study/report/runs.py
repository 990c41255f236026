"""From the MLflow store to a table of runs: reads, never writes."""

import contextlib
import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

import pandas as pd

from study.errors import UsageError, nearest
from study.report.identity import identified
from study.report.properties import reasons, stated
from study.storage import paths
from study.storage.sqlite import file_uri, readable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TAGS = (
    "method",
    "level",
    "dataset",
    "dataset_option",
    "architecture",
    "seed",
    "safeguard",
    "outcome",
    "reason",
    "changed",
    "gradient_masking",
    "sweep",
    "subject",
    "row",
)
PAGE = 1000
"""Runs per request; MLflow's own limit is 50,000."""


def read(tracking_uri: str, experiment: str) -> pd.DataFrame:
    """All finished and crashed runs of an experiment, newest first.

    Returns:
        One row per run: the TAGS as text (missing ones empty; `changed` and `gradient_masking` as bool), those that
        `identity.identified` completes, `approach`, `subject_name` and `subject_seed` as text, `finished` (False for a
        crashed run), `ended` (milliseconds since 1970), `params` (settings by dotted name), `measures` (how each
        property was measured), `properties` and `not_applicable` (what the run states, see `properties.stated` and
        `properties.reasons`), and one float column per logged metric under its own name (`after/accuracy`; rates in
        [0, 1], seconds, MiB), NaN where a run lacks it.

    Raises:
        UsageError: The store or the experiment is missing, unreadable or empty.
    """
    client = _client(tracking_uri)
    rows = [_row(run) for run in _all_runs(client, _experiment_id(client, experiment, tracking_uri))]
    kept = [row for row in rows if row is not None]
    if not kept:
        raise UsageError(f"experiment {experiment!r} in {tracking_uri} holds no finished run yet: run a job first")
    frame = pd.DataFrame(kept).sort_values("ended", ascending=False, kind="stable", ignore_index=True)
    metrics = [column for column in frame.columns if "/" in column]
    frame = frame.astype(dict.fromkeys(metrics, float))
    return identified(frame.copy())  # in one piece: of one column by column, pandas warns where one is added


def local_store() -> str:
    """The URI of the store that local jobs write to, whatever characters its path has."""
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(paths.mlruns() / "mlflow.db")).render_as_string()


def _client(tracking_uri: str) -> "MlflowClient":
    # MLflow reads these when it is imported, and it is imported late because that takes a second or two.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    from mlflow import MlflowClient

    if tracking_uri.startswith("sqlite:///"):
        return MlflowClient(_read_only(tracking_uri))
    if tracking_uri.startswith(("http://", "https://")):
        return MlflowClient(tracking_uri)
    raise UsageError(f"--tracking-uri: {tracking_uri!r} is neither sqlite:///FILE nor the http:// address of a server")


def _read_only(tracking_uri: str) -> str:
    """The same sqlite store, opened so that nothing can be made or changed (MLflow would create a missing one)."""
    from sqlalchemy import URL, make_url

    database = Path(make_url(tracking_uri).database or "")
    if not database.is_file():
        raise UsageError(
            f"no MLflow store at {database}: run a job first, or name another store with --tracking-uri or STUDY_HOME"
        )
    try:
        with readable(database) as connection:
            connection.execute("SELECT count(*) FROM experiments")
    except sqlite3.Error as error:
        advice = "`python -m study.record` makes it anew if it is half made or damaged"
        raise UsageError(f"{database} cannot be read as an MLflow store: {error}; {advice}") from error
    # "+pysqlite" because for plain "sqlite:///" MLflow would take "file:/..." for a relative path and make its folders.
    url = URL.create("sqlite+pysqlite", database=file_uri(database), query={"mode": "ro", "uri": "true"})
    return url.render_as_string()


def _experiment_id(client: "MlflowClient", name: str, tracking_uri: str) -> str:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        found = client.get_experiment_by_name(name)
        names = [] if found else [experiment.name for experiment in client.search_experiments()]
    except (MlflowException, SQLAlchemyError) as error:  # the latter of tables that were never all made
        reason = shorten(str(error).splitlines()[0], 200, placeholder=" ...")
        advice = "; `python -m study.record` says more" if tracking_uri.startswith("sqlite") else ""
        raise UsageError(f"the MLflow store {tracking_uri} does not answer: {reason}{advice}") from error
    if found is None:
        raise UsageError(f"no experiment {name!r} in {tracking_uri}; {nearest(name, names)}")
    return str(found.experiment_id)


def _all_runs(client: "MlflowClient", experiment_id: str) -> "list[Run]":
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs([experiment_id], max_results=PAGE, page_token=token)
        runs.extend(page)
        token = page.token
        if not token:
            return runs


def _row(run: "Run") -> dict[str, object] | None:
    """None for a run that has not ended, or that no job of this project wrote."""
    tags = run.data.tags
    if run.info.status not in ("FINISHED", "FAILED") or not {"method", "dataset"} <= tags.keys():
        return None
    finished = run.info.status == "FINISHED"
    row: dict[str, object] = {tag: tags.get(tag, "") for tag in TAGS}
    safeguard = tags.get("safeguard", "none")
    return row | {
        "safeguard": safeguard,
        "approach": tags.get("approach") or " + ".join([tags["method"], *([] if safeguard == "none" else [safeguard])]),
        "subject_name": tags.get("subject_name") or f"{tags['dataset']} / {tags.get('architecture', '')}",
        "subject_seed": tags.get("subject_seed") or tags.get("seed", ""),
        "params": dict(run.data.params),
        "measures": _measures(tags),
        "outcome": tags.get("outcome", "repaired") if finished else "crashed",
        "changed": tags.get("changed", "true") == "true",
        "gradient_masking": tags.get("gradient_masking") == "true",
        "finished": finished,
        "properties": stated(tags),
        "not_applicable": reasons(tags),
        "ended": run.info.end_time or run.info.start_time,
        **{name: value for name, value in run.data.metrics.items() if "/" in name},
    }


def _measures(tags: Mapping[str, str]) -> dict[str, str]:
    """How a run measured each property, by key; a tag that cannot be read says nothing."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        return {str(key): str(how) for key, how in dict(json.loads(tags["measures"])).items()}
    return {}
