"""A small tracked study, in a real MLflow store made once: two subjects, several approaches, seeds and outcomes."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from study.report import runs
from tests.report.store import Store, measured

REASON = "needs BatchNorm: LeNet5 has none"


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Store:
    store = Store(tmp_path_factory.mktemp("home"), empty_store)
    store.add("finetune", 0, measured(0.930, 0.50, 0.020, 0.84, 90.0))
    store.add("finetune", 1, measured(0.950, 0.60, 0.010, 0.82, 110.0))
    store.add("apricot", 0, measured(0.940, 0.55, 0.015, 0.20, 300.0), gradient_masking="true")
    store.add("full/joint", 0, measured(0.960, 0.70, 0.010, 0.40, 200.0), sweep="second")
    store.add("arachne", 0, measured(0.100, 0.00, 0.500, 0.99, 1.0), level="neuron")
    store.add("arachne", 0, measured(0.905, 0.10, 0.005, 0.80, 40.0), level="neuron")
    store.add("arachne", 0, {}, status="FAILED", level="neuron", reason="RuntimeError: killed")
    store.add("arachne", 1, {}, level="neuron", outcome="failure", reason="no candidate was fitter")
    store.add("reassure", 0, measured(0.900, 0.00, 0.000, 0.80, 0.5), level="layer", changed="false")
    store.add("vere", 0, {}, level="neuron", outcome="unadaptable", reason=REASON)
    store.add("care", 0, {}, status="FAILED", level="neuron", reason="<b>ValueError</b>")
    store.add("hudd", 0, {}, status="RUNNING")
    digits = {"dataset": "digits", "architecture": "mlp"}
    store.add("none", 0, {"before/accuracy": 0.92}, level="", **digits)
    store.add("none", 1, {"before/accuracy": 0.94}, level="", **digits)
    store.add("finetune", 0, {"after/accuracy": 0.96, "before/accuracy": 0.5, "after/churn": 0.25}, **digits)
    return store


@pytest.fixture(scope="session")
def frame(store: Store) -> pd.DataFrame:
    return runs.read(store.uri, "study")


@pytest.fixture
def home(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The current folder is an empty one; STUDY_HOME names the store's."""
    monkeypatch.setenv("STUDY_HOME", str(store.home))
    monkeypatch.chdir(tmp_path)
    yield store.home
