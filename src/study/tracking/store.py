"""The MLflow store: one short write per job, in batches and under a lock, and the question whether a job is done.

A fresh sqlite store that several processes open at once loses runs, because its schema migrations race: therefore the
store is made and opened, and the experiment created, under an exclusive lock. MLflow is imported only when something is
written or made, or a server is asked.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, validate_call

from study.errors import NotRecorded, UsageError
from study.storage import paths
from study.storage.files import locked
from study.storage.space import full_disk
from study.tracking import database
from study.tracking.condition import condition_of
from study.tracking.making import make
from study.tracking.rebuilding import is_of_home, rebuild
from study.tracking.result import Result
from study.tracking.server import refuse_silence, refuse_stranger
from study.tracking.writer import Writer

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RACE = "IntegrityError"
"""What an MLflow server says where two jobs bring the same data set at the same moment; the second try finds it."""


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
        """See that the store can be used, before any work, and put right what a kill left of a local one.

        Raises:
            UsageError: The address is of another kind, the server is silent or refuses, or the database was moved, is
                of another version of MLflow, or is none.
        """
        if self.database:
            self.mend()
            if sentence := self.moved():
                raise UsageError(sentence)
            if database.lifecycle(self.database, self.experiment) == "deleted":
                raise UsageError(
                    f"tracking.experiment={self.experiment} was deleted: restore it, or choose another name"
                )
        elif self.uri.startswith(("http://", "https://")):
            refuse_silence(self.uri)
            import_mlflow()
            refuse_stranger(self.uri, self.experiment)
        else:
            raise UsageError(f"tracking.uri={self.uri}: use auto, sqlite:///FILE, http://HOST:PORT or https://HOST")

    def mend(self) -> None:
        """Set a local database aside that is half made or damaged, and make it anew from the home's result files.

        Raises:
            UsageError: It is of another version of MLflow, or no MLflow store at all, and therefore left alone; or no
                database can be in this place.
        """
        if self.database:
            self._check_place(self.database)
        if self._needs_rebuilding() and self.database and self.artifacts:
            import_mlflow()
            with self._lock():
                if self._needs_rebuilding():  # another process may have been faster
                    rebuild(self.database, self.artifacts, condition_of(self.database))

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

    def doubled(self) -> set[str]:
        """The keys that more than one FINISHED run carries, as older versions could leave them."""
        if self.database:
            return database.doubled(self.database, self.experiment)
        keys = Counter(run.data.tags.get("key", "") for run in self._ended("") if run.info.status == "FINISHED")
        return {key for key, count in keys.items() if count > 1}

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
        """Record the result in a job's folder; returns the id of the one FINISHED run that stands for its key.

        Args:
            folder: Holds result.json and artifacts/.
            force: It replaces an equal job that is FINISHED in the store and started earlier.

        Raises:
            UsageError: The result file is damaged.
            NotRecorded: The store cannot take it.
        """
        result = Result.read(folder)
        import_mlflow()
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._lock():
                if self.database:
                    self._make_ready(self.database)
                writer = Writer(self._client, self.artifacts)
                try:
                    return writer.write(result, folder, self.experiment, force=force)
                except MlflowException as error:
                    if RACE not in str(error):
                        raise
                    return writer.write(result, folder, self.experiment, force=force)
        except (UsageError, MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
            first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
            reason = full_disk(error) or (first_line if isinstance(error, UsageError) else f"{self.uri}: {first_line}")
            raise NotRecorded(f"{folder} could not be recorded in {self.uri}: {reason}", reason) from error

    def _make_ready(self, file: Path) -> None:
        """Make the database if there is none; we hold its lock."""
        if sentence := self.moved():
            raise UsageError(sentence)
        condition = condition_of(file)
        if condition.state == "missing":
            make(file)
        elif condition.state != "whole":
            raise UsageError(condition.sentence)

    def _needs_rebuilding(self) -> bool:
        """Whether the database is of no use; one that may be somebody else's is refused."""
        if self.database is None:
            return False
        condition = condition_of(self.database)
        if condition.state == "half made" or (condition.state == "unreadable" and is_of_home(self.database)):
            return True
        if condition.state not in ("whole", "missing"):
            raise UsageError(f"tracking.uri={self.uri}: {condition.sentence}")
        return False

    def _check_place(self, file: Path) -> None:
        if file.is_dir():
            raise UsageError(
                f"tracking.uri={self.uri}: {file} is a folder; name a file in it, as sqlite:///FOLDER/mlflow.db"
            )
        if file.exists() and not file.is_file():
            raise UsageError(f"tracking.uri={self.uri}: {file} is not a file; use sqlite:///FILE")
        existing = next(folder for folder in file.parents if folder.exists())
        if not existing.is_dir():
            raise UsageError(f"tracking.uri={self.uri}: {existing} is a file, not a folder; name another place")
        if not os.access(existing, os.W_OK) or (file.exists() and not os.access(file, os.W_OK)):
            raise UsageError(f"tracking.uri={self.uri}: {existing} cannot be written to; name another place")

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
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for each run on a server
    import mlflow  # noqa: F401

    logging.getLogger("mlflow").setLevel(logging.WARNING)
