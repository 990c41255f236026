"""Values that cannot work are refused in one sentence before anything is trained or written."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from study.config.job import prepare, prepare_all
from study.config.keys import Keys
from study.errors import UsageError
from tests.commands import FAST, compositions, prepared

REFUSED = {
    "seed=abc": "seed=abc: should be a whole number",
    "seed=-1": "seed=-1: should be at least 0",
    "dataset.epsilon=2": "dataset.epsilon=2: should be at most 1",
    "faulty.optimizer=adamw": "faulty.optimizer=adamw: should be adam, sgd or auto",
    "trainer.threads=0": "trainer.threads=0: should be at least 1 or auto",
    "architecture=lenet5": "architecture=lenet5 takes images of at least 16x16 pixels",
    "architecture.widths=[3,-1]": "architecture.widths.1=-1",
    "architecture.num_classes=3": "architecture.num_classes=3: should be 10, as dataset=digits has so many classes",
    "architecture._target_=torch.nn.Nonsense": "architecture: No module named 'torch.nn.Nonsense'",
    "metric.attacks.attack_success_rate.steps=-1": "metric.attacks.attack_success_rate.steps=-1",
    "tracking.uri=ftp://host": "tracking.uri=ftp://host",
    "tracking.uri=http://127.0.0.1:9": "tracking.uri=http://127.0.0.1:9 does not answer",
    "dataset=mnist dataset.root=nowhere": "nowhere",
    "dataset=image_folder": "dataset.root",
    "faulty.checkpoint=none.pt": "faulty.checkpoint=none.pt: there is no such file",
    "+method=finetune method.epochs=-1": "method.epochs=-1",
    "+method=finetune +method.colour=1": "method.colour: there is no such setting",
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_mistake_gets_one_sentence(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refusal:
        prepared(*line.split())
    assert REFUSED[line] in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="trainer=gpu: torch sees no GPU"):
        prepared("trainer=gpu")


class Bomb:
    """Leaves a trace if it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    trace, file = tmp_path / "trace", tmp_path / "bomb.pt"
    file.write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(UsageError, match="neither a safetensors file nor a plain state dict"):
        prepared(f"faulty.checkpoint={file}")
    torch.save({"weight": Bomb(trace)}, file)
    with pytest.raises(UsageError, match="could run code"):
        prepared(f"faulty.checkpoint={file}")
    assert not trace.exists()


def test_a_checkpoint_of_another_architecture_names_the_tensors(tmp_path: Path) -> None:
    (job,) = prepared("architecture.widths=[16]")
    file = tmp_path / "small.pt"
    torch.save(job.make_model().net.state_dict(), file)
    with pytest.raises(UsageError, match=r"layers\.1\.weight is 16x64 in the file and 64x64 in the architecture"):
        prepared(f"faulty.checkpoint={file}")
    assert prepared(f"faulty.checkpoint={file}", "architecture.widths=[16]")


def test_any_module_serves_as_an_architecture() -> None:
    (job,) = prepared(
        "architecture=mlp", "~architecture", "+architecture._target_=tests.networks.Plain", "trust=[tests]"
    )
    assert job.names.architecture == "plain"
    assert job.make_model()(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


def test_threads_are_shared_out_between_parallel_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    (alone,), (shared,) = prepared("seed=0"), prepared("hydra/launcher=joblib", "hydra.launcher.n_jobs=4")
    (cluster,) = prepared("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=3")
    assert [job.hardware.threads for job in (alone, shared, cluster)] == [8, 2, 3]


def test_an_approach_that_cannot_be_applied_says_why() -> None:
    (job,) = prepared("+method=reassure", "architecture.widths=[]")
    assert "ReLU" in (job.obstacle or "")
    (job,) = prepared("+method=reassure")
    assert job.obstacle is None


def test_keys_change_with_what_determines_a_result() -> None:
    def keys(*arguments: str) -> tuple[str, str, str]:
        (job,) = prepared("+method=finetune", *arguments)
        job.data.load(job.settings.subject.seed)
        found = Keys.of(job)
        return found.faulty, found.repair, found.job

    base = keys()
    assert keys() == base
    assert [a == b for a, b in zip(keys("metric=fast"), base, strict=True)] == [True, True, False]
    assert [a == b for a, b in zip(keys("method.epochs=3"), base, strict=True)] == [True, False, False]
    assert [a == b for a, b in zip(keys("seed=1", "subject.seed=0"), base, strict=True)] == [True, False, False]
    for change in ("seed=1", "dataset.limit=100", "faulty.lr=0.1", "architecture.widths=[9]", "trainer.threads=7"):
        assert not set(keys(change)) & set(base), change


def test_jobs_of_many_seeds_share_what_is_built_and_have_keys_of_their_own() -> None:
    jobs = compositions("-m", "+method=finetune", "seed=0,1", "subject.seed=0,2", *FAST)
    together, apart = prepare_all(jobs), [prepare(job.config, job.hydra, job.overrides) for job in jobs]
    for job in (*together, *apart):
        job.data.load(job.settings.subject.seed)
    assert [Keys.of(job) for job in together] == [Keys.of(job) for job in apart]
    assert [job.names for job in together] == [job.names for job in apart]
    assert len({id(job.suite) for job in together}) == 1 and len({id(job.data) for job in together}) == 4


def test_a_value_that_follows_the_seed_is_not_shared() -> None:
    jobs = prepare_all(compositions("-m", "seed=1,2", *FAST, "faulty.epochs=${seed}"))
    assert [job.recipe.epochs for job in jobs] == [1, 2]
    with pytest.raises(UsageError, match="faulty.epochs"):
        prepare_all(compositions("-m", "seed=1,20000", *FAST, "faulty.epochs=${seed}"))
