"""What holds for every test: one thread, as results depend on it, and a home folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """STUDY_DATA stays as it is: tests of downloaded data need it."""
    torch.set_num_threads(1)
    monkeypatch.setenv("STUDY_HOME", str(tmp_path))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and nothing in them: making one takes seconds."""
    from study.tracking.store import import_mlflow

    import_mlflow()
    from mlflow import MlflowClient

    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{database}").search_experiments()
    return database


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Path:
    """A fresh store in the test's home folder."""
    (tmp_path / "mlruns").mkdir()
    return Path(shutil.copy(empty_store, tmp_path / "mlruns" / "mlflow.db"))
