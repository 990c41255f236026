import shutil
from pathlib import Path

import pytest

from study.record import main
from study.tracking.result import RESULT, Result
from study.tracking.store import Store
from study.tracking.unfinished import not_run, running
from study.tracking.writer import Writer
from tests.tracking.results import written

pytestmark = pytest.mark.usefixtures("tables_copied")


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """A store that tests share, each with an experiment of its own."""
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
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "3 recorded, 0 already there, 1 unfinished (no result.json), 0 damaged or refused"
    assert {key for key, _ in Store().recorded()} == {"a", "b", "c"}
    assert Store().finished("a")
    assert not Store().finished("c")

    assert main([]) == 0
    assert capsys.readouterr().out.startswith("0 recorded, 3 already there, 1 unfinished")

    written(home / "multirun" / "forced", "a", started=1_800_000_000)
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("1 recorded, 2 already there, 1 older than an equal one")
    assert Store().recorded() == {("a", 1_800_000_000_000), *((key, 1_700_000_000_250) for key in "bc")}
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("0 recorded, 3 already there, 1 older than an equal one")


def test_models_come_back_as_second_names_of_the_same_files(home, uri):
    from mlflow import MlflowClient

    assert main(["--tracking-uri", uri, "--experiment", "models"]) == 0

    client = MlflowClient(uri)
    found = client.search_logged_models([client.get_experiment_by_name("models").experiment_id])
    assert sorted(model.model_type for model in found) == ["faulty", "repaired", "repaired", "repaired"]
    kept = [*home.rglob("repaired.safetensors"), *home.rglob("faulty.safetensors")]
    weights = [file for model in found for file in Path(model.artifact_location).glob("*.safetensors")]
    assert len(weights) == 4 and all(any(file.samefile(other) for other in kept) for file in weights)


@pytest.fixture
def jobs(home, store):
    """Folders as Hydra makes them: of a job that was cut off, one that still runs, one that was finished before."""
    shutil.rmtree(home / "multirun")
    folders = [home / "multirun" / name / "job" for name in ("cut off", "running", "before")]
    for folder in folders:
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "overrides.yaml").write_text("- +method=joint\n- seed=1\n")
    (folders[0] / ".running").touch()  # a kill leaves it, but nobody holds its lock
    not_run(folders[2])
    with running(folders[1]):
        yield folders


def test_what_became_of_jobs_without_a_result_is_told(jobs, capsys):
    assert main([]) == 0

    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("0 recorded, 0 already there, 2 unfinished")
    cut_off, still, before = jobs
    assert told[1:] == [
        "1 still running:",
        f"  {still}  +method=joint seed=1",
        "1 cut off; the command that started them goes on from there:",
        f"  {cut_off}  +method=joint seed=1",
        "1 not run again, since an equal job was finished before:",
        f"  {before}  +method=joint seed=1",
        "--remove-unfinished removes the folders of those that do not run.",
    ]
    assert all(folder.exists() for folder in jobs)


def test_unfinished_ones_are_removed_unless_they_run(jobs, home, capsys):
    written(home / "multirun" / "whole", "a")
    (home / "multirun" / "mine" / "artifacts").mkdir(parents=True)  # no job of Hydra's

    assert main(["--remove-unfinished"]) == 0

    assert capsys.readouterr().out.count("(removed)") == 2
    assert sorted(path.name for path in (home / "multirun").iterdir()) == ["faulty", "mine", "running", "whole"]
    assert jobs[1].exists() and Store().finished("a")


def test_doubles_that_an_older_version_left_are_put_right(home, uri, monkeypatch):
    store = Store(uri=uri, experiment="doubles")
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "_ended", lambda *_: [])
        store.write(written(home / "multirun" / "first", "a", started=1000))
        store.write(written(home / "multirun" / "second", "a", started=2000))
    assert store.doubled() == {"a"}

    assert main(["--tracking-uri", uri, "--experiment", "doubles"]) == 0

    assert store.doubled() == set()
    assert ("a", 1_700_000_000_250) in store.recorded() and len(store.recorded()) == 3


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

    first, second, *_ = capsys.readouterr().out.splitlines()
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
