import shutil

import pytest

from study.storage.paths import cache
from study.tracking import ledger
from study.tracking.result import RESULT, SCHEMA
from study.tracking.store import Store
from tests.damages import DAMAGES
from tests.tracking.results import written


@pytest.fixture
def job(tmp_path):
    """A finished job in the ledger."""
    folder = written(tmp_path / "multirun" / "job")
    ledger.enter("k0", folder)
    return folder


def test_a_finished_job_is_found(job):
    assert ledger.folder_of("k0") == job
    assert ledger.folder_of("k1") is None


@pytest.mark.parametrize("remains", ["", "{", "older"])
def test_a_result_that_cannot_be_read_is_not_finished(job, remains):
    older = (job / RESULT).read_text().replace(f'"schema": {SCHEMA}', '"schema": 1')
    (job / RESULT).write_text(older if remains == "older" else remains)

    assert ledger.folder_of("k0") is None
    assert ledger.finished("k0", Store()) == ""


def test_a_result_that_is_gone_is_not_finished(job):
    shutil.rmtree(job)

    assert ledger.folder_of("k0") is None


@pytest.mark.parametrize("damage", DAMAGES[:-1])
def test_a_damaged_entry_is_named_and_its_job_not_finished(job, damage, caplog):
    entry = cache() / "jobs" / "k0.json"
    damage(entry)

    assert ledger.finished("k0", Store()) == ""
    (warning,) = caplog.messages
    assert str(entry) in warning
    assert not entry.exists()
    ledger.enter("k0", job)
    assert ledger.folder_of("k0") == job
