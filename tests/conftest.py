"""What holds for every test: one thread, as results depend on it, and a home folder of its own.

And what is made once per process and handed out, as it takes most of the time of many tests.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """STUDY_DATA stays as it is: tests of downloaded data need it."""
    torch.set_num_threads(1)
    monkeypatch.setenv("STUDY_HOME", str(tmp_path))


@pytest.fixture(scope="session", autouse=True)
def composed_once() -> None:
    """The project's own configuration files do not change: what they come to is kept from one command to the next."""
    from hydra._internal.sources_registry import SourcesRegistry
    from hydra.core.plugins import Plugins

    from study.config.loader import Loader
    from tests.kept import Kept, parsed_once

    Loader.composed, Loader.repositories = Kept(), Kept()
    Plugins.instance()  # which registers the kinds of sources
    for scheme in ("file", "pkg"):
        source = SourcesRegistry.instance().resolve(scheme)
        source.load_config = parsed_once(source.load_config)  # type: ignore[method-assign]


@pytest.fixture(scope="session", autouse=True)
def plugins_listed_once() -> None:
    """Lightning looks through all installed packages for callbacks at every training, which takes 30 ms."""
    if registry := sys.modules.get("lightning_fabric.utilities.registry"):
        registry.entry_points = lru_cache(registry.entry_points)  # type: ignore[attr-defined]


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
def tables_copied(empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a new store of this process is made of; MLflow takes seconds for its tables."""
    from study.tracking import making

    monkeypatch.setattr(making, "make_tables", lambda uri: shutil.copy(empty_store, uri.removeprefix("sqlite:///")))


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Path:
    """A fresh store in the test's home folder."""
    (tmp_path / "mlruns").mkdir()
    return Path(shutil.copy(empty_store, tmp_path / "mlruns" / "mlflow.db"))


@pytest.fixture
def program(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """`python -m study` in this process, on a small job: its exit code, and what it prints on stdout and stderr.

    Hydra sets the handlers of the whole process, and `main` what Hydra does with exceptions: both are put back. What a
    multirun before in this process came to is forgotten.
    """
    from study.__main__ import main
    from study.cli.sweep import Sweep
    from tests.commands import FAST

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["study", *arguments, *FAST])
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Sweep, "crashed", 0)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the current folder is put there
    yield run
    root.handlers[:] = handlers
    root.setLevel(level)
