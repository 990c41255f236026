import pytest

from study.errors import UsageError
from study.tracking.recorded import repaired_of
from study.tracking.result import ARTIFACTS
from study.tracking.store import Store
from tests.tracking.results import written


@pytest.fixture
def store(uri, request):
    return Store(uri=uri, experiment=request.node.name)


def test_the_repaired_model_of_a_run_is_found(store, tmp_path):
    job = written(tmp_path / "job")

    folder = repaired_of(store.write(job), store)

    assert (folder / "repaired.safetensors").samefile(job / ARTIFACTS / "repaired" / "repaired.safetensors")
    assert (folder / "model.json").is_file()


def test_a_run_without_a_model_says_so(store, tmp_path):
    job = written(tmp_path / "job")
    (job / ARTIFACTS / "repaired").rename(tmp_path / "elsewhere")
    run = store.write(job)

    with pytest.raises(UsageError, match=f"{run}: this run holds no repaired model"):
        repaired_of(run, store)


def test_an_unknown_run_and_a_missing_store_are_refused(store, tmp_path):
    store.write(written(tmp_path / "job"))

    with pytest.raises(UsageError, match="has no such run"):
        repaired_of("0" * 32, store)
    with pytest.raises(UsageError, match="there is no MLflow store at"):
        repaired_of("0" * 32, Store())
