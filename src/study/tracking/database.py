"""What is asked of MLflow's sqlite database without importing MLflow, which takes a second.

The three tables read here (experiments, runs, tags) have kept their columns since MLflow 1; only `relocate` writes,
to logged_models of MLflow 3 as well.
"""

import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path

from study.errors import UsageError
from study.storage.sqlite import BUSY_SECONDS, readable

RECORDED = """
    SELECT tags.value, runs.start_time, runs.status FROM runs
    JOIN experiments USING (experiment_id) JOIN tags USING (run_uuid)
    WHERE experiments.name = ? AND tags.key = 'key' AND runs.lifecycle_stage = 'active'
    AND runs.status IN ('FINISHED', 'FAILED')
"""
TAGS = """
    SELECT runs.run_uuid, tags.key, tags.value FROM runs
    JOIN experiments USING (experiment_id) JOIN tags USING (run_uuid)
    WHERE experiments.name = ? AND runs.status = 'FINISHED' AND runs.lifecycle_stage = 'active'
    ORDER BY runs.start_time DESC, runs.run_uuid
"""


def is_finished(database: Path, experiment: str, key: str) -> bool:
    """Whether a FINISHED run carries this key; False where there is no store yet."""
    query = RECORDED + "AND runs.status = 'FINISHED' AND tags.value = ?"
    return bool(_rows(database, query + " LIMIT 1", experiment, key))


def recorded(database: Path, experiment: str) -> set[tuple[str, int]]:
    """(key, start in milliseconds since 1970) of every run that has ended."""
    return {(str(key), int(str(start))) for key, start, _ in _rows(database, RECORDED, experiment)}


def doubled(database: Path, experiment: str) -> set[str]:
    """The keys that more than one FINISHED run carries."""
    query = RECORDED + "AND runs.status = 'FINISHED' GROUP BY tags.value HAVING count(*) > 1"
    return {str(key) for key, *_ in _rows(database, query, experiment)}


def lifecycle(database: Path, experiment: str) -> str | None:
    """`active` or `deleted`, None where there is no such experiment yet."""
    rows = _rows(database, "SELECT lifecycle_stage FROM experiments WHERE name = ?", experiment)
    return str(rows[0][0]) if rows else None


def artifact_location(database: Path, experiment: str) -> str | None:
    """Where the experiment says that its artifacts are, None where there is no such experiment yet."""
    rows = _rows(database, "SELECT artifact_location FROM experiments WHERE name = ?", experiment)
    return str(rows[0][0]) if rows else None


def experiment_id(database: Path, experiment: str) -> str | None:
    """MLflow's id of an experiment, None where there is none of that name yet."""
    rows = _rows(database, "SELECT experiment_id FROM experiments WHERE name = ?", experiment)
    return str(rows[0][0]) if rows else None


def tags(database: Path, experiment: str) -> list[dict[str, str]]:
    """The tags of every FINISHED run, newest run first."""
    runs: defaultdict[object, dict[str, str]] = defaultdict(dict)
    for run, key, value in _rows(database, TAGS, experiment):
        runs[run][str(key)] = str(value)
    return list(runs.values())


def relocate(database: Path, old: str, new: str) -> None:
    """Point all experiments, runs and models whose artifacts were under `old` to `new`: the folder was moved."""
    with closing(sqlite3.connect(database, timeout=BUSY_SECONDS)) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?", (new, old))
        for table, column in (("runs", "artifact_uri"), ("logged_models", "artifact_location")):
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                (new, len(old) + 1, len(old) + 1, f"{old}/"),
            )


def _rows(database: Path, query: str, *values: str) -> list[tuple[object, ...]]:
    """The rows of a query, none where the store or its tables have not been made yet; nothing is ever created."""
    if not database.is_file():
        return []
    try:
        with readable(database) as connection:
            return connection.execute(query, values).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise UsageError(f"{database} cannot be read as an MLflow store: {error}") from error
    except sqlite3.DatabaseError as error:
        raise UsageError(f"{database} is not an MLflow store, or is damaged: {error}") from error
