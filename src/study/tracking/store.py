"""The MLflow store: one short write per job, in batches and under a lock, and the question whether a job is done.

A fresh sqlite store that several processes open at once loses runs, because its schema migrations race: therefore the
store is opened, and the experiment created, under an exclusive lock. MLflow is imported only when something is written
or a server is asked.
"""

from __future__ import annotations

import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, validate_call

from study.errors import UsageError
from study.storage import paths
from study.storage.files import locked
from study.tracking import database
from study.tracking.result import Result
from study.tracking.run import delete_run, milliseconds, stated, statements, write_run
from study.tracking.target import Target
from study.tracking.view import shows_more, views

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ANSWER_SECONDS = 5
"""How long a tracking server may take to say that it is alive."""


class Store:
    """Where jobs are recorded (conf/tracking).

    Args:
        uri: `auto` (sqlite in the folder mlruns), `sqlite:///FILE` or the address of an MLflow server.
        experiment: Name of the MLflow experiment that holds the runs.
    """

    @validate_call
    def __init__(self, *, uri: str = "auto", experiment: Annotated[str, Field(min_length=1)] = "study") -> None:
        self.uri = f"sqlite:///{paths.mlruns() / 'mlflow.db'}" if uri == "auto" else uri
        self.experiment = experiment
        self.database: Path | None = None
        if self.uri.startswith("sqlite:///"):
            self.database = Path(self.uri.removeprefix("sqlite:///")).expanduser().resolve()
            self.uri = f"sqlite:///{self.database}"

    @property
    def artifacts(self) -> Path | None:
        """Folder of the artifacts: beside the database; None where a server decides."""
        return self.database.parent / "artifacts" if self.database else None

    def check(self) -> None:
        """See that the store can be used, before any work; writes nothing.

        Raises:
            UsageError: The address is of another kind, the server is silent, or the database was moved or is none.
        """
        if self.database:
            existing = next(folder for folder in self.database.parents if folder.exists())
            if not os.access(existing, os.W_OK):
                raise UsageError(f"tracking.uri={self.uri}: {existing} cannot be written to; name another place")
            if sentence := self.moved():
                raise UsageError(sentence)
        elif self.uri.startswith(("http://", "https://")):
            _refuse_silence(self.uri)
        else:
            raise UsageError(f"tracking.uri={self.uri}: use auto, sqlite:///FILE, http://HOST:PORT or https://HOST")

    def finished(self, key: str) -> bool:
        """Whether a FINISHED run of the job with this key is in the store; a missing store is not created."""
        if self.database:
            return database.is_finished(self.database, self.experiment, key)
        return any(run.info.status == "FINISHED" for run in self._ended(f"tags.key = '{key}'"))

    def recorded(self) -> set[tuple[str, int]]:
        """(key, start in milliseconds since 1970) of every run in the store that has ended."""
        if self.database:
            return database.recorded(self.database, self.experiment)
        return {(run.data.tags.get("key", ""), run.info.start_time) for run in self._ended("")}

    def moved(self) -> str | None:
        """One sentence if the database's absolute artifact paths lead elsewhere, as they do in a moved project."""
        location = database.artifact_location(self.database, self.experiment) if self.database else None
        if location is None or location == str(self.artifacts):
            return None
        return f"{self.database} was moved: its artifacts point to {location}; `python -m study.record` puts that right"

    def relocate(self) -> bool:
        """Point the artifact paths of a moved store to where it is now; returns whether there was something to do."""
        if not (self.database and self.moved()):
            return False
        with self._lock():
            if location := database.artifact_location(self.database, self.experiment):
                database.relocate(self.database, location, str(self.artifacts))
        return True

    def write(self, folder: Path, *, force: bool = False) -> str:
        """Record the result in a job's folder; returns the run's id, the older one's if it was recorded before.

        Args:
            folder: Holds result.json and artifacts/.
            force: Record it even if an equal job is FINISHED in the store.

        Raises:
            UsageError: The result file is damaged, or the store cannot take it.
        """
        result = Result.read(folder)
        import_mlflow()
        from mlflow.exceptions import MlflowException

        with self._lock():
            if sentence := self.moved():
                raise UsageError(sentence)
            try:
                target = Target(self._client, self._experiment_id(result), local=self.database is not None)
                return self._older(target, result, force) or write_run(target, result, folder)
            except (MlflowException, OSError) as error:
                first_line = str(error).splitlines()[0]
                raise UsageError(f"{folder} could not be recorded in {self.uri}: {first_line}") from error

    @cached_property
    def _client(self) -> MlflowClient:
        import_mlflow()
        from mlflow import MlflowClient

        return MlflowClient(self.uri)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Nobody else opens or writes the local store meanwhile; a server orders its own requests."""
        with locked(self.database.parent / ".lock") if self.database else nullcontext():
            yield

    def _experiment_id(self, result: Result) -> str:
        """The experiment, created where it is missing, with ready-made views of what the result states."""
        from mlflow.exceptions import MlflowException

        ready = views(stated(statements(result.properties, result.not_applicable)))
        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            location = str(self.artifacts) if self.artifacts else None
            try:
                return str(self._client.create_experiment(self.experiment, location, ready))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(self.experiment)  # another process was faster
        if found is None or found.lifecycle_stage != "active":
            raise UsageError(f"tracking.experiment={self.experiment} was deleted in {self.uri}: restore or rename it")
        if shows_more(ready, found.tags):
            for name, value in ready.items():
                self._client.set_experiment_tag(found.experiment_id, name, value)
        return str(found.experiment_id)

    def _older(self, target: Target, result: Result, force: bool) -> str | None:
        """The run that holds this result already; remains of a write that was killed are deleted."""
        for run in self._client.search_runs([target.experiment_id], f"tags.key = '{result.key}'"):
            status, same_job = run.info.status, run.info.start_time == milliseconds(result.started)
            if status == "RUNNING" and (same_job or target.local):  # under our lock nobody else is writing it
                delete_run(target, run.info.run_id)
            elif same_job or (status == result.status == "FINISHED" and not force):
                return str(run.info.run_id)
        return None

    def _ended(self, condition: str) -> list[Run]:
        """Runs of a server's experiment that have ended, all pages; none where there is no such experiment yet."""
        experiment = self._client.get_experiment_by_name(self.experiment)
        if experiment is None:
            return []
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self._client.search_runs([experiment.experiment_id], condition, page_token=token)
            runs.extend(run for run in page if run.info.status in ("FINISHED", "FAILED"))
            token = page.token
            if not token:
                return runs


def import_mlflow() -> None:
    """Import MLflow with its telemetry off, no news about migrations, and seconds of patience instead of minutes."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    import mlflow  # noqa: F401

    logging.getLogger("mlflow").setLevel(logging.WARNING)


def _refuse_silence(uri: str) -> None:
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=ANSWER_SECONDS) as answer:
            alive = answer.status == 200
    except urllib.error.HTTPError as error:
        alive = error.code in (401, 403)  # a server behind a login; MLflow reads the credentials from its own variables
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UsageError(
            f"tracking.uri={uri} does not answer ({reason}): start the server, or leave tracking.uri out"
        ) from error
    if not alive:
        raise UsageError(f"tracking.uri={uri} answers, but not as an MLflow server does")
