import hashlib
from pathlib import Path

import pandas as pd
import pytest

from study.errors import UsageError
from study.report import runs
from tests.report.store import Store


def test_reads_every_ended_run_newest_first_and_none_that_is_running(frame: pd.DataFrame) -> None:
    assert len(frame) == 14
    assert "hudd" not in set(frame["method"])
    assert frame["ended"].is_monotonic_decreasing


def test_a_failed_run_is_crashed_whatever_its_tag_says(frame: pd.DataFrame) -> None:
    crashed = frame[~frame["finished"]]
    assert sorted(crashed["method"]) == ["arachne", "care"]
    assert set(crashed["outcome"]) == {"crashed"}


def test_flags_become_bool_and_metrics_numbers(frame: pd.DataFrame) -> None:
    apricot = frame[frame["method"] == "apricot"].iloc[0]
    assert apricot["gradient_masking"] and apricot["changed"]
    assert apricot["after/repair_rate"] == 0.55
    assert frame["after/churn"].dtype == float


def test_all_pages_are_read(store: Store, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PAGE", 4)
    pd.testing.assert_frame_equal(runs.read(store.uri, "study"), frame)


def test_reading_changes_nothing(store: Store, home: Path, tmp_path: Path) -> None:
    database = home / "mlruns" / "mlflow.db"
    before = hashlib.sha256(database.read_bytes()).hexdigest()
    runs.read(store.uri, "study")
    assert hashlib.sha256(database.read_bytes()).hexdigest() == before
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_a_folder_with_an_awkward_name(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "my runs 100%"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes((store.home / "mlruns" / "mlflow.db").read_bytes())
    assert len(runs.read(f"sqlite:///{folder / 'mlflow.db'}", "study")) == 14


def test_a_missing_store_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no MLflow store at .*absent.db"):
        runs.read(f"sqlite:///{tmp_path / 'absent.db'}", "study")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, " * 100)
    with pytest.raises(UsageError, match=r"cannot be read as an MLflow store"):
        runs.read(f"sqlite:///{tmp_path / 'mlflow.db'}", "study")


@pytest.mark.parametrize("uri", ["mlruns", "file:./mlruns", "sqlite://", "sqlite:mlflow.db"])
def test_what_is_no_store_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match=r"--tracking-uri: .* is neither sqlite:///FILE nor"):
        runs.read(uri, "study")


def test_an_unknown_experiment_is_refused_with_the_nearest(store: Store) -> None:
    with pytest.raises(UsageError, match=r"no experiment 'studdy'.*did you mean study"):
        runs.read(store.uri, "studdy")


def test_an_empty_experiment_is_refused(store: Store) -> None:
    with pytest.raises(UsageError, match=r"'Default'.*no finished run yet"):
        runs.read(store.uri, "Default")
