import subprocess
import sys
from pathlib import Path

import pytest

from study.report.__main__ import main


def test_prints_the_table_and_the_path_of_the_page(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "mnist / lenet5" in out and "digits / mlp" in out
    assert out.splitlines()[-1] == f"Report: {home / 'multirun' / 'report' / 'report.html'}"


def test_filters_take_several_names(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dataset", "mnist", "--method", "arachne, vere", "--output", "out"]) == 0
    out = capsys.readouterr().out
    assert "arachne" in out and "finetune" not in out and "digits" not in out
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_wrong_name_is_one_sentence_and_exit_2(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--method", "aracne", "--output", "out"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "study.report: --method: no run has method 'aracne'; did you mean arachne?\n"
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_missing_store_is_one_sentence_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STUDY_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    assert capsys.readouterr().err.startswith(f"study.report: no MLflow store at {tmp_path / 'mlruns' / 'mlflow.db'}")
    assert list(tmp_path.iterdir()) == []


def test_a_home_with_an_awkward_name(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "50% done #2 é"
    (other / "mlruns").mkdir(parents=True)
    (other / "mlruns" / "mlflow.db").write_bytes((home / "mlruns" / "mlflow.db").read_bytes())
    monkeypatch.setenv("STUDY_HOME", str(other))
    assert main([]) == 0
    assert (other / "multirun" / "report" / "report.html").is_file()


def test_the_report_never_imports_torch() -> None:
    code = "import sys, study.report.__main__; sys.exit('torch' in sys.modules or 'mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
