"""`python -m study.frontier`: from stored repairs to a table, a picture and a file."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from study.frontier.__main__ import main
from study.frontier.curves import Point
from study.frontier.repairs import Row
from study.problem import faulty
from study.repairs import cache as cache_module
from study.tracking.result import Result
from tests.commands import FAST, run_job

LINES = {
    "finetune-0": ("+method=finetune", "method.epochs=2"),
    "finetune-1": ("+method=finetune", "method.epochs=2", "seed=1"),
    "guarded": ("+method=finetune", "method.epochs=2", "safeguard=soft_voting"),
    "patches": ("+method=reassure_soft",),
    "failing": ("+method=reassure", "architecture.widths=[]"),
}


@pytest.fixture(scope="module")
def finished(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with the jobs of `LINES`."""
    home = tmp_path_factory.mktemp("home")
    (home / "mlruns").mkdir()
    shutil.copy(empty_store, home / "mlruns" / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_HOME", str(home))
        for name, line in LINES.items():
            run_job(*line, *FAST, name=name)
        yield home


@pytest.fixture
def home(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same; nothing may be trained or repaired any more."""
    monkeypatch.setenv("STUDY_HOME", str(finished))
    for module, name in ((faulty.FaultySource, "_train"), (cache_module, "run_repair")):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("this trains"))
    return finished


def test_it_draws_the_stored_repairs_without_training(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    told = capsys.readouterr().out
    folder = home / "multirun" / "report"
    rows = list(csv.DictReader((folder / "frontier.csv").open()))
    assert {(row["approach"], row["seed"], row["safeguard"]) for row in rows} == {
        *(("finetune epochs=2", seed, name) for seed in "01" for name in ("interpolation", "soft_voting")),
        ("reassure_soft", "0", "soft_voting"),
    }
    for name, approach, seed in (("finetune-0", "finetune epochs=2", "0"), ("patches", "reassure_soft", "0")):
        metrics = Result.read(home / "multirun" / name).metrics
        for row in rows:
            if (row["approach"], row["seed"], row["share"]) == (approach, seed, "1.0"):
                assert float(row["repair_rate"]) == pytest.approx(metrics["after/repair_rate"])
                assert float(row["negative_flip_rate"]) == pytest.approx(metrics["after/negative_flip_rate"])
    with Image.open(folder / "frontier_digits_mlp_faulty_epochs_4.png") as picture:
        assert min(picture.size) > 400
    assert "digits / mlp" in told and "n/a" in told and "chooses its share on the validation split" in told
    assert "At no more than 0.2 % negative flips" in told


def test_the_files_are_there_before_the_table_is_read(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdout", Closed())
    with pytest.raises(KeyboardInterrupt):
        main(["--method", "reassure_soft", "--output", str(tmp_path)])
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 2


def test_each_subject_has_its_picture_and_its_lines_stand_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    curve = [Point(0.0, 0.0, 0.0), Point(1.0, 0.5, 0.01)]
    rows = [
        Row(subject=subject, approach=approach, control=False, curves={"soft_voting": {"0": curve}})
        for approach in ("care", "joint")
        for subject in ("mnist / lenet5", "digits / mlp")
    ]
    monkeypatch.setattr("study.frontier.__main__.stored_repairs", lambda *_: [])
    monkeypatch.setattr("study.frontier.__main__.rows_of", lambda *_: rows)
    assert main(["--output", str(tmp_path)]) == 0
    lines = list(csv.DictReader((tmp_path / "frontier.csv").open()))
    assert [line["subject"] for line in lines] == 4 * ["digits / mlp"] + 4 * ["mnist / lenet5"]
    assert {path.name for path in tmp_path.glob("*.png")} == {"frontier_digits_mlp.png", "frontier_mnist_lenet5.png"}
    told = capsys.readouterr().out
    assert told.index("digits / mlp") < told.index("mnist / lenet5")


def test_only_what_is_asked_for(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--method", "reassure_soft", "--nfr-max", "0.01", "--output", str(tmp_path / "out")]) == 0
    assert "At no more than 1 % negative flips reassure_soft repairs most" in capsys.readouterr().out
    for wrong in ("-0.1", "2", "nan", "few"):
        with pytest.raises(SystemExit):
            main(["--nfr-max", wrong])
    assert capsys.readouterr().err.count("is no rate: should be from 0 to 1") == 4
    assert main(["--method", "joint"]) == 2
    assert "no stored repair without a safeguard" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_a_repair_whose_faulty_model_is_gone_is_left_out(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(home / "multirun" / "patches", tmp_path / "moved")
    assert main([str(tmp_path / "moved"), "--output", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "its faulty model is gone" in told and "none of the stored repairs could be read" in told


def test_a_configuration_that_names_foreign_code_is_not_built(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(home / "multirun" / "patches", tmp_path / "foreign")
    file = tmp_path / "foreign" / "artifacts" / "config.yaml"
    text = file.read_text().replace("study.data.digits.Digits", "os.system")
    file.unlink()
    file.write_text(text)
    assert main([str(tmp_path / "foreign"), "--output", str(tmp_path)]) == 2
    assert "dataset._target_=os.system: os.system is not trusted" in capsys.readouterr().err
