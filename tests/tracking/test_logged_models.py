import json
import shutil
from dataclasses import replace

import pytest
from safetensors.torch import load_file

from study.storage.paths import cache
from study.tracking.logged_models import FAULTY_FILES
from study.tracking.result import ARTIFACTS, Origin
from study.tracking.store import Store
from tests.commands import FAST, run_job
from tests.tracking.results import ORIGIN, written


@pytest.fixture
def store(uri, request):
    return Store(uri=uri, experiment=request.node.name)


@pytest.fixture
def client(uri):
    from mlflow import MlflowClient

    return MlflowClient(uri)


def models_of(client, run_id):
    """The faulty models that went into a run and the repaired ones that came out of it."""
    run = client.get_run(run_id)
    inputs, outputs = run.inputs.model_inputs, run.outputs.model_outputs if run.outputs else []
    return tuple([client.get_logged_model(link.model_id) for link in links] for links in (inputs, outputs))


def files_of(store, model):
    """Files of a logged model, by name."""
    folder = store.artifacts / "models" / model.model_id / "artifacts"
    return {file.name: file for file in folder.iterdir()}


def test_the_faulty_model_goes_into_a_run_and_the_repaired_one_comes_out(store, client, tmp_path):
    job = written(tmp_path / "job")

    (faulty,), (repaired,) = models_of(client, store.write(job))

    assert (faulty.name, faulty.model_type, faulty.tags["faulty_key"]) == ("faulty digits mlp s0", "faulty", "f0")
    assert (repaired.name, repaired.model_type) == ("arachne digits k0", "repaired")
    assert {model.status.value for model in (faulty, repaired)} == {"READY"}
    assert files_of(store, faulty).keys() == set(FAULTY_FILES)
    assert files_of(store, repaired).keys() == {"model.json", "repaired.safetensors"}
    measured = {
        model.model_type: {metric.key: metric.value for metric in model.metrics} for model in (faulty, repaired)
    }
    assert measured == {
        "faulty": {"before/accuracy": 0.9},
        "repaired": {"after/accuracy": 0.9375, "after/repair_rate": 0.625},  # NaN would be shown as 0
    }


def test_nothing_is_stored_twice(store, client, tmp_path):
    job = written(tmp_path / "job")

    run_id = store.write(job)

    (faulty,), (repaired,) = models_of(client, run_id)
    beside, own = job / ORIGIN.folder, job / ARTIFACTS
    assert all(file.samefile(beside / name) for name, file in files_of(store, faulty).items())
    assert all(file.samefile(own / "repaired" / name) for name, file in files_of(store, repaired).items())
    assert (store.artifacts / run_id / "artifacts" / "config.yaml").samefile(own / "config.yaml")
    shutil.rmtree(store.artifacts)
    assert (own / "repaired" / "repaired.safetensors").read_bytes() == b"repaired k0"


def test_runs_of_one_faulty_model_share_it(store, client, tmp_path):
    keys = {"a": ORIGIN, "b": ORIGIN, "c": replace(ORIGIN, faulty="f1", folder="../faulty/f1")}
    found = {}
    for key, origin in keys.items():
        (faulty,), (repaired,) = models_of(client, store.write(written(tmp_path / key, key, origin=origin)))
        found[key] = faulty.model_id, repaired.model_id

    assert found["a"][0] == found["b"][0] != found["c"][0]
    assert len({repaired for _, repaired in found.values()}) == 3
    assert [metric.key for metric in client.get_logged_model(found["a"][0]).metrics] == ["before/accuracy"]


def test_a_faulty_model_that_is_gone_does_not_keep_a_run_out(store, client, tmp_path):
    job = written(tmp_path / "job")
    shutil.rmtree(job / ORIGIN.folder)

    faulty, repaired = models_of(client, store.write(job))

    assert (len(faulty), len(repaired)) == (0, 1)
    assert store.finished("k0")


def test_a_checkpoint_stays_where_it_is_and_its_hash_is_a_tag(store, client, tmp_path):
    run_id = store.write(written(tmp_path / "job", origin=Origin(faulty="f0", checkpoint="abc")))

    tags = client.get_run(run_id).data.tags
    assert models_of(client, run_id)[0] == []
    assert (tags["checkpoint"], tags["faulty_key"]) == ("abc", "f0")


def test_the_data_set_is_an_input_with_its_digest_and_sizes(store, client, tmp_path):
    run = client.get_run(store.write(written(tmp_path / "job")))

    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest, entry.dataset.source_type) == ("digits", "d0", "code")
    sizes = {"num_rows": 180, "train": 60, "validation": 20, "repair": 20, "test": 80}
    assert json.loads(entry.dataset.profile) == sizes


@pytest.fixture
def home(empty_store, tmp_path):
    """A fresh store in the test's home folder."""
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_store, tmp_path / "mlruns" / "mlflow.db")
    return Store()


def test_a_job_leaves_models_that_load_and_nothing_of_hydra(home):
    from mlflow import MlflowClient

    _, folder = run_job("+method=finetune", "method.epochs=1", *FAST)

    client = MlflowClient(home.uri)
    (run,) = client.search_runs([client.get_experiment_by_name("study").experiment_id])
    (faulty,), (repaired,) = models_of(client, run.info.run_id)
    weights = load_file(files_of(home, repaired)["repaired.safetensors"])
    before = load_file(files_of(home, faulty)["faulty.safetensors"])
    assert weights.keys() == before.keys() and any((weights[name] != before[name]).any() for name in weights)
    assert files_of(home, repaired)["repaired.safetensors"].samefile(
        folder / ARTIFACTS / "repaired/repaired.safetensors"
    )
    assert files_of(home, faulty).keys() == set(FAULTY_FILES)
    assert next((cache() / "faulty").glob("*/faulty.safetensors")).samefile(
        files_of(home, faulty)["faulty.safetensors"]
    )
    assert not [name for name in run.data.params if "_target_" in name]
    assert run.data.tags["mlflow.note.content"].startswith("finetune epochs=1 on digits / mlp")
