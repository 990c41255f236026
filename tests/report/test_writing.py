import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from study.errors import UsageError
from study.report import page
from study.report.__main__ import main
from study.report.selection import Filters
from study.report.writing import write
from tests.report.store import Store


def test_writes_page_and_csv_and_nothing_else(store: Store, tmp_path: Path) -> None:
    output = tmp_path / "new" / "report"
    assert write(store.uri, "study", output) == output / "report.html"
    assert sorted(path.name for path in output.iterdir()) == ["comparison.csv", "report.html"]
    assert (output / "report.html").stat().st_mode & 0o044


def test_the_files_are_there_before_the_table_is_read(store: Store, tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(store.uri, "study", tmp_path, console=Console(file=Closed()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comparison.csv", "report.html"]


def test_filters_reach_the_files(store: Store, tmp_path: Path) -> None:
    write(store.uri, "study", tmp_path, filters=Filters(sweep=("second",)))
    lines = pd.read_csv(tmp_path / "comparison.csv")
    assert list(lines["method"].fillna("")) == ["none", "full/joint"]


def test_an_interrupted_write_leaves_the_old_report(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write(store.uri, "study", tmp_path).read_bytes()
    monkeypatch.setattr(Path, "replace", _fail)
    with pytest.raises(OSError, match="No space left"):
        write(store.uri, "study", tmp_path, filters=Filters(dataset=("digits",)))
    assert (tmp_path / "report.html").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comparison.csv", "report.html"]


def _fail(self: Path, target: Path) -> Path:
    raise OSError(28, "No space left on device")


def test_a_full_disk_ends_the_command_with_a_sentence_and_1(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Path, "replace", _fail)
    assert main(["--tracking-uri", str(store.uri), "--output", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("study.report: the disk (or a quota) is full: ")


def test_an_output_that_is_a_file_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match=r"--output: cannot write to .*taken"):
        write(store.uri, "study", tmp_path / "taken")


def test_nothing_is_written_when_the_page_cannot_be_made(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "html", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(store.uri, "study", tmp_path / "report")
    assert not (tmp_path / "report").exists()
