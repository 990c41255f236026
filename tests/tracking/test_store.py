import json
import multiprocessing
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from study.errors import NotRecorded, UsageError
from study.metrics.description import Description
from study.tracking import making
from study.tracking.recorded import repaired_of
from study.tracking.result import Result
from study.tracking.run import rounded, stated
from study.tracking.serve import free_port
from study.tracking.store import Store, import_mlflow
from study.tracking.summary import sentence
from study.tracking.writer import Writer
from tests.tracking.results import PROPERTIES, written

make_tables = making.make_tables


@pytest.fixture
def store(uri, request):
    return Store(uri=uri, experiment=request.node.name)


def runs(store):
    """Every run of the store's experiment that was not deleted, by MLflow's own client."""
    from mlflow import MlflowClient

    client = MlflowClient(store.uri)
    return client.search_runs([client.get_experiment_by_name(store.experiment).experiment_id])


def models(store):
    """Every logged model of the store's experiment that was not deleted."""
    from mlflow import MlflowClient

    client = MlflowClient(store.uri)
    experiment = client.get_experiment_by_name(store.experiment).experiment_id
    page = client.search_logged_models([experiment])
    found = list(page)
    while page.token:
        page = client.search_logged_models([experiment], page_token=page.token)
        found += page
    return found


def test_everything_of_a_result_is_in_the_run(store, tmp_path):
    from mlflow import MlflowClient

    run_id = store.write(written(tmp_path / "job"))

    client = MlflowClient(store.uri)
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "arachne digits k0")
    assert (run.info.start_time, run.info.end_time) == (1_700_000_000_250, 1_700_000_060_250)
    assert run.data.metrics["after/accuracy"] == 0.9375
    assert run.data.metrics["after/aaod"] != run.data.metrics["after/aaod"]
    assert run.data.params["method.population"] == "100"
    assert run.data.params["odd__name_"] == "x"
    tags = run.data.tags
    assert (tags["key"], tags["method"], tags["outcome"]) == ("k0", "arachne", "repaired")
    assert tags["mlflow.source.git.commit"] == "0123abc"
    assert {"mlflow.user", "mlflow.source.name", "run_type"} <= tags.keys()
    assert tags["mlflow.note.content"] == sentence(Result.read(tmp_path / "job"))
    assert json.loads(tags["metric.accuracy"]) == {
        "place": 0, "label": "accuracy", "unit": "rate", "higher_is_better": True, "role": "accuracy"
    }  # fmt: skip
    assert json.loads(tags["metric.time/repair"])["label"] == "repair time"
    assert json.loads(tags["not_applicable"]) == {"aaod": "the data set has no sensitive groups"}
    assert stated(tags) == {name: text for name, text in PROPERTIES.items() if name != "aaod"}
    history = client.get_metric_history(run_id, "repair/fitness")
    assert sorted((point.step, point.value) for point in history) == [(0, 1.0), (1, 0.5), (2, 0.333333)]
    assert {entry.path for entry in client.list_artifacts(run_id)} == {"config.yaml"}
    assert (store.artifacts / run_id / "artifacts" / "config.yaml").read_text() == "seed: 0\n"


@pytest.mark.parametrize(
    "text", ["{", "[1]", "3", '{"label":"x"}', '{"place":"first","label":"x"}', '{"place":1,"x":2}']
)
def test_a_statement_that_cannot_be_read_is_passed_over(text):
    good = {"metric.churn": '{"place":1,"label":"churn"}'}

    assert stated({**good, "metric.broken": text, "not_applicable": text[:1]}) == {"churn": Description(label="churn")}


@pytest.mark.parametrize(
    ("value", "seen"),
    [(5 / 7, 0.714286), (1234567.0, 1234567.0), (12345.678, 12345.7), (-1e-9 / 3, -3.33333e-10), (0.0, 0.0)],
)
def test_metrics_are_rounded_to_six_digits_and_whole_numbers_are_exact(value, seen):
    assert rounded(value) == seen


def test_a_long_curve_arrives_whole(store, tmp_path):
    from mlflow import MlflowClient

    run_id = store.write(written(tmp_path / "job", points=2500))

    assert len(MlflowClient(store.uri).get_metric_history(run_id, "repair/fitness")) == 2500


def test_finished_is_true_for_finished_runs_of_this_experiment_alone(store, tmp_path):
    store.write(written(tmp_path / "a", "done"))
    store.write(written(tmp_path / "b", "crashed", status="FAILED"))

    assert store.finished("done")
    assert not store.finished("crashed")
    assert not store.finished("never")
    assert not Store(uri=store.uri, experiment="other").finished("done")


def test_a_store_that_does_not_exist_is_asked_without_being_made(tmp_path):
    store = Store(uri=f"sqlite:///{tmp_path}/mlruns/mlflow.db")

    store.check()

    assert not store.finished("k0")
    assert store.recorded() == set()
    assert list(tmp_path.iterdir()) == []


def test_a_finished_job_is_not_recorded_twice_unless_forced(store, tmp_path):
    first = store.write(written(tmp_path / "a", started=1000))
    again = written(tmp_path / "b", started=2000)

    assert store.write(again) == first
    forced = store.write(again, force=True)
    assert forced != first
    assert store.write(again, force=True) == forced
    assert [run.info.run_id for run in runs(store)] == [forced]  # it replaces the older one
    assert store.write(tmp_path / "a", force=True) == forced  # which does not come back
    assert [run.info.run_id for run in runs(store)] == [forced]


def test_a_crashed_run_stays_beside_the_finished_one(store, tmp_path):
    store.write(written(tmp_path / "a", status="FAILED", started=1000))
    store.write(written(tmp_path / "b", started=2000))

    assert sorted(run.info.status for run in runs(store)) == ["FAILED", "FINISHED"]
    assert store.recorded() == {("k0", 1_000_000), ("k0", 2_000_000)}


def test_a_write_that_breaks_off_leaves_no_run(store, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    folder = written(tmp_path / "job")
    with monkeypatch.context() as patch:
        patch.setattr(
            MlflowClient, "log_batch", lambda *_, **__: (_ for _ in ()).throw(OSError("No space left on device"))
        )
        with pytest.raises(NotRecorded, match=r"could not be recorded in .*: No space left on device"):
            store.write(folder)
    assert runs(store) == []
    assert [model.model_type for model in models(store)] == ["faulty"]
    assert not store.finished("k0")

    store.write(folder)

    assert [run.info.status for run in runs(store)] == ["FINISHED"]
    assert sorted(model.model_type for model in models(store)) == ["faulty", "repaired"]


def test_two_jobs_that_bring_the_same_data_set_to_a_server_at_once_are_both_recorded(store, tmp_path, monkeypatch):
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    log_inputs, calls = MlflowClient.log_inputs, []

    def first_refused(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 1:
            raise MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.experiment_id")
        return log_inputs(*arguments, **options)

    monkeypatch.setattr(MlflowClient, "log_inputs", first_refused)

    run_id = store.write(written(tmp_path / "job"))

    assert [run.info.run_id for run in runs(store)] == [run_id]
    assert sorted(model.model_type for model in models(store)) == ["faulty", "repaired"]


@pytest.mark.parametrize("step", ["set_terminated", "finalize_logged_model"])
def test_what_a_killed_write_left_is_replaced(uri, request, step, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    store = Store(uri=uri, experiment=request.node.name)
    with monkeypatch.context() as patch:  # a kill leaves the run RUNNING and a model PENDING: nothing is set or deleted
        patch.setattr(MlflowClient, step, lambda *_: None)
        patch.setattr(MlflowClient, "set_terminated", lambda *_: None)
        killed = store.write(written(tmp_path / "killed", started=1000))
    assert not store.finished("k0")
    assert store.recorded() == set()

    whole = store.write(written(tmp_path / "rerun", started=2000))

    assert [(run.info.run_id, run.info.status) for run in runs(store)] == [(whole, "FINISHED")]
    assert whole != killed
    assert sorted(model.model_type for model in models(store)) == ["faulty", "repaired"]
    assert {model.status.value for model in models(store)} == {"READY"}


def test_a_moved_store_says_so_and_is_put_right(uri, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    store = Store(uri=f"sqlite:///{old}/mlruns/mlflow.db")
    run_id = store.write(written(tmp_path / "job"))
    old.rename(new)
    moved = Store(uri=f"sqlite:///{new}/mlruns/mlflow.db")

    with pytest.raises(
        UsageError, match=r"was moved: .*/old/mlruns/artifacts; `python -m study.record` puts that right"
    ):
        moved.check()
    with pytest.raises(NotRecorded, match="was moved"):
        moved.write(written(tmp_path / "another", "k1"))
    assert moved.finished("k0")
    assert moved.relocate()

    from mlflow import MlflowClient

    moved.check()
    assert not moved.relocate()
    client = MlflowClient(moved.uri)
    assert {entry.path for entry in client.list_artifacts(run_id)} == {"config.yaml"}
    assert all(client.list_logged_model_artifacts(model.model_id) for model in models(moved))
    moved.write(written(tmp_path / "third", "k2"))
    assert not old.exists()


def test_a_deleted_experiment_is_named(store, tmp_path):
    from mlflow import MlflowClient

    store.write(written(tmp_path / "a"))
    client = MlflowClient(store.uri)
    client.delete_experiment(client.get_experiment_by_name(store.experiment).experiment_id)

    with pytest.raises(UsageError, match=f"tracking.experiment={store.experiment} was deleted"):
        store.check()
    with pytest.raises(NotRecorded, match=f"tracking.experiment={store.experiment} was deleted"):
        store.write(written(tmp_path / "b", "k1"))


@pytest.mark.parametrize("uri", ["file:./mlruns", "mlruns", "postgresql://db/x", "sqlite://", ""])
def test_other_kinds_of_address_are_refused(uri):
    with pytest.raises(UsageError, match="use auto, sqlite:///FILE, http"):
        Store(uri=uri).check()


@pytest.fixture
def server(tmp_path):
    """Address of a real MLflow server with a store of its own."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    places = ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", tmp_path / "kept"]
    process = subprocess.Popen([*command, *places], cwd=tmp_path)
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def wait_until_it_answers(address, seconds=60):
    """Return when the server takes requests."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return Store(uri=address).check()
        except UsageError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@pytest.mark.slow
def test_a_server_takes_a_result_with_its_artifacts_once(server, tmp_path):
    from mlflow import MlflowClient

    store, job = Store(uri=server), written(tmp_path / "job")
    assert not store.finished("k0")

    run_id = store.write(job)

    client = MlflowClient(server)
    assert client.get_run(run_id).data.metrics["after/accuracy"] == 0.9375
    assert {entry.path for entry in client.list_artifacts(run_id)} == {"config.yaml"}
    found = {model.model_type: model.model_id for model in models(store)}
    files = {kind: {file.path for file in client.list_logged_model_artifacts(found[kind])} for kind in found}
    assert files == {
        "faulty": {"faulty.safetensors", "model.json", "training.json"},
        "repaired": {"repaired.safetensors", "model.json"},
    }
    assert [model.model_id for model in client.get_run(run_id).inputs.model_inputs] == [found["faulty"]]
    assert (repaired_of(run_id, store) / "repaired.safetensors").read_bytes() == b"repaired k0"
    assert Path(client.download_artifacts(run_id, "config.yaml", str(tmp_path))).read_text() == "seed: 0\n"
    assert store.finished("k0") and store.recorded() == {("k0", 1_700_000_000_250)}
    assert Store(uri=server).write(job) == run_id
    assert len(runs(store)) == 1


def test_where_others_write_too_a_killed_write_is_replaced_and_one_run_of_equal_ones_stays(
    uri, request, tmp_path, monkeypatch
):
    """As on a server, whose only difference to this database is that artifacts are uploaded."""
    from mlflow import MlflowClient

    store, writer = Store(uri=uri, experiment=request.node.name), Writer(MlflowClient(uri), None)
    monkeypatch.chdir(tmp_path)

    def write(folder, **options):
        return writer.write(Result.read(folder), folder, store.experiment, **options)

    job, equal = written(tmp_path / "job", started=1000), written(tmp_path / "equal", started=2000)
    with monkeypatch.context() as patch:  # a kill leaves the run RUNNING
        patch.setattr(MlflowClient, "set_terminated", lambda *_: None)
        write(job)
    assert [run.info.status for run in runs(store)] == ["RUNNING"]

    kept = write(job)
    assert [(run.info.run_id, run.info.status) for run in runs(store)] == [(kept, "FINISHED")]
    assert write(equal) == kept

    with monkeypatch.context() as patch:  # two jobs that are recorded at the same time do not see each other's run
        patch.setattr(Writer, "_ended", lambda *_: [])
        newer = write(equal)
        assert newer != kept and [run.info.run_id for run in runs(store)] == [newer]
        assert write(job) == newer
    assert [run.info.run_id for run in runs(store)] == [newer]

    assert write(written(tmp_path / "forced", started=3000), force=True) != newer
    assert store.recorded() == {("k0", 3_000_000)} and store.doubled() == set()
    assert sorted(model.model_type for model in models(store)) == ["faulty", "repaired"]


def write_many(folder, process, jobs):
    """What one process of a multirun does to the store, a new Store for each job."""
    for job in range(jobs):
        name = f"{process}-{job}"
        Store(uri=f"sqlite:///{folder}/mlruns/mlflow.db").write(written(folder / "multirun" / name, name))


@pytest.mark.parametrize(("processes", "jobs"), [(4, 3), pytest.param(8, 40, marks=pytest.mark.slow)])
def test_processes_that_share_a_fresh_store_lose_nothing(tmp_path, processes, jobs, monkeypatch):
    monkeypatch.setattr(making, "make_tables", make_tables)  # MLflow's own, which must not be run twice at once
    import_mlflow()  # here, so that the processes need not: they are to meet in the store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

    fork = multiprocessing.get_context("fork")
    started = [fork.Process(target=write_many, args=(tmp_path, number, jobs)) for number in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout=240)
    assert [process.exitcode for process in started] == [0] * processes

    store = Store(uri=f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    found = runs(store)
    assert {run.data.tags["key"] for run in found} == {f"{p}-{j}" for p in range(processes) for j in range(jobs)}
    assert len(found) == processes * jobs
    assert {len(run.data.metrics) for run in found} == {5}
    assert sorted(model.model_type for model in models(store)) == ["faulty"] + ["repaired"] * processes * jobs
    assert all((store.artifacts / run.info.run_id / "artifacts" / "config.yaml").is_file() for run in found)


def test_importing_the_store_and_asking_it_imports_no_mlflow(tmp_path):
    shutil.rmtree(tmp_path)
    code = (
        "import sys; from study.tracking.store import Store; s = Store(); s.check(); s.finished('k');"
        "sys.exit('mlflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
