import shutil
from pathlib import Path

import pytest

from study.record import main
from study.tracking.result import RESULT, Result
from study.tracking.store import Store
from tests.tracking.results import written


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """A store that tests share, since making it takes seconds, each with an experiment of its own."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with two finished jobs, a crashed one, and one that was killed in the middle."""
    monkeypatch.setenv("STUDY_HOME", str(tmp_path))
    sweep = tmp_path / "multirun" / "2026-01-01"
    written(sweep / "0", "a")
    written(sweep / "1", "b")
    written(sweep / "2", "c", status="FAILED")
    (written(sweep / "3", "d") / RESULT).unlink()
    return tmp_path


def test_a_lost_store_is_rebuilt_once(home, capsys):
    assert main([]) == 0
    assert (
        capsys.readouterr().out == "3 recorded, 0 already there, 1 unfinished (no result.json), 0 damaged or refused\n"
    )
    assert {key for key, _ in Store().recorded()} == {"a", "b", "c"}
    assert Store().finished("a")
    assert not Store().finished("c")

    assert main([]) == 0
    assert capsys.readouterr().out.startswith("0 recorded, 3 already there, 1 unfinished")

    written(home / "multirun" / "forced", "a", started=1_800_000_000)
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("1 recorded, 3 already there")


def test_models_come_back_as_second_names_of_the_same_files(home, uri):
    from mlflow import MlflowClient

    assert main(["--tracking-uri", uri, "--experiment", "models"]) == 0

    client = MlflowClient(uri)
    found = client.search_logged_models([client.get_experiment_by_name("models").experiment_id])
    assert sorted(model.model_type for model in found) == ["faulty", "repaired", "repaired", "repaired"]
    kept = [*home.rglob("repaired.safetensors"), *home.rglob("faulty.safetensors")]
    weights = [file for model in found for file in Path(model.artifact_location).glob("*.safetensors")]
    assert len(weights) == 4 and all(any(file.samefile(other) for other in kept) for file in weights)


def test_a_damaged_result_does_not_stop_the_others(home, uri, capsys):
    (home / "multirun" / "2026-01-01" / "0" / RESULT).write_text("{")

    assert main(["--tracking-uri", uri, "--experiment", "damaged"]) == 1

    captured = capsys.readouterr()
    assert captured.out.startswith("2 recorded, 0 already there, 1 unfinished (no result.json), 1 damaged")
    assert captured.err.count("\n") == 1
    assert "2026-01-01/0/result.json is not a result file" in captured.err


def test_chosen_folders_go_to_a_chosen_store_and_experiment(home, uri):
    assert main([str(home / "multirun" / "2026-01-01" / "1"), "--tracking-uri", uri, "--experiment", "mine"]) == 0

    start = round(Result.read(home / "multirun" / "2026-01-01" / "1").started * 1000)
    assert Store(uri=uri, experiment="mine").recorded() == {("b", start)}
    assert not (home / "mlruns").exists()


def test_a_moved_home_is_put_right(home, tmp_path_factory, monkeypatch, capsys):
    main([])
    new = tmp_path_factory.mktemp("new") / "home"
    shutil.move(home, new)
    monkeypatch.setenv("STUDY_HOME", str(new))
    capsys.readouterr()

    assert main([]) == 0

    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(f"had been moved: its artifacts are now looked for in {new}/mlruns/artifacts")
    assert second.startswith("0 recorded, 3 already there")
    assert Store().moved() is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["nowhere"], "nowhere: there is no such folder"), (["--tracking-uri", "ftp://x"], "tracking.uri=ftp://x: use")],
)
def test_a_wrong_request_ends_with_2_and_one_sentence(home, capsys, arguments, sentence):
    assert main(arguments) == 2

    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert not (home / "mlruns").exists()
