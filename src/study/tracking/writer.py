"""Results as runs of one MLflow store: of all equal ones a single FINISHED run stays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import UsageError
from study.tracking.result import Result
from study.tracking.run import delete_run, milliseconds, stated, statements, write_run
from study.tracking.target import Target
from study.tracking.view import shows_more, views

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True)
class Writer:
    """Writes into a store that nobody else writes to meanwhile, unless it is a server.

    artifacts: where a local store has its artifacts, None where a server decides.
    """

    client: MlflowClient
    artifacts: Path | None

    def write(self, result: Result, folder: Path, experiment: str, *, force: bool = False) -> str:
        """Write the result in a job's folder; returns the id of the run that stands for it and all equal ones.

        Of FINISHED runs with one key the one that started last stays; the others are deleted, and so is what a killed
        write left. An older result than the one that stands there is not written, and neither is a newer one unless
        `force` says that it replaces the older.

        Raises:
            UsageError: The experiment was deleted.
        """
        target = Target(self.client, self._experiment_id(result, experiment), local=self.artifacts is not None)
        ended = self._ended(target, result)
        start = milliseconds(result.started)
        if result.status == "FAILED":
            known = [run for run in ended if run.info.start_time == start]
            return str(known[0].info.run_id) if known else write_run(target, result, folder)
        finished = [run for run in ended if run.info.status == "FINISHED"]
        if not finished or (force and finished[-1].info.start_time < start):
            written = write_run(target, result, folder)
            if target.local:
                _delete(target, finished)
                return written
            finished = self._finished(target, result.key)  # an equal job elsewhere may have written its run meanwhile
            if not finished:  # a server that shows what was written only after a while
                return written
        _delete(target, finished[:-1])
        return str(finished[-1].info.run_id)

    def _ended(self, target: Target, result: Result) -> list[Run]:
        """Runs with the result's key that have ended, the newest last; the remains of a killed write are deleted.

        On a server only those of the same job are surely remains: another one may still be written.
        """
        runs = self._runs(target, result.key)
        for run in runs:
            same_job = run.info.start_time == milliseconds(result.started)
            if run.info.status == "RUNNING" and (same_job or target.local):
                delete_run(target, run.info.run_id)
        return [run for run in runs if run.info.status in ("FINISHED", "FAILED")]

    def _finished(self, target: Target, key: str) -> list[Run]:
        return [run for run in self._runs(target, key) if run.info.status == "FINISHED"]

    def _runs(self, target: Target, key: str) -> list[Run]:
        """In an order on which all processes agree: of two that clean up at a time each keeps the same run."""
        runs = target.client.search_runs([target.experiment_id], f"tags.key = '{key}'")
        return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))

    def _experiment_id(self, result: Result, name: str) -> str:
        """The experiment, created where it is missing, with ready-made views of what the result states."""
        from mlflow.exceptions import MlflowException

        ready = views(stated(statements(result.properties, result.not_applicable)))
        found = self.client.get_experiment_by_name(name)
        if found is None:
            location = str(self.artifacts) if self.artifacts else None
            try:
                return str(self.client.create_experiment(name, location, ready))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self.client.get_experiment_by_name(name)  # another process was faster
        if found is None or found.lifecycle_stage != "active":
            raise UsageError(f"tracking.experiment={name} was deleted: restore it, or choose another name")
        if shows_more(ready, found.tags):
            for tag, value in ready.items():
                self.client.set_experiment_tag(found.experiment_id, tag, value)
        return str(found.experiment_id)


def _delete(target: Target, runs: list[Run]) -> None:
    """Delete runs, unless another process did so at the same moment."""
    from mlflow.exceptions import MlflowException

    for run in runs:
        try:
            delete_run(target, run.info.run_id)
        except MlflowException:
            if target.client.get_run(run.info.run_id).info.lifecycle_stage == "active":
                raise
