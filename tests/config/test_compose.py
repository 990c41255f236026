"""Names and keys that are not there get one sentence, and nothing is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from study.config.compose import with_plus
from study.errors import UsageError
from tests.commands import compositions

REFUSED = {
    "+method=arachn": "method=arachn: there is no such method; did you mean arachne",
    "dataset=minst": "dataset=minst: there is no such dataset; did you mean mnist",
    "+methd=care": "methd: the configuration has no key methd; did you mean method",
    "sede=1": "did you mean seed",
    "dataset.limti=4": "dataset has no key limti; did you mean limit",
    "method.population=3": "no method is chosen; add +method=NAME",
    "+method=arachne method.populatio=3": "method has no key populatio; did you mean population",
    "+method=[arachne,joint]": "a job takes one method",
    "+method=arachne +method=joint": "a job takes one method",
    "++method=arachne": "write +method=arachne",
    "seed=[1": "no viable alternative at input '[1'",
    "metric.attacks.pgd.steps=3": "metric.attacks.pgd.steps: there is no key metric.attacks.pgd",
    "--config-dir nowhere": "there is no such folder",
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_mistake_gets_one_sentence(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refusal:
        compositions(*line.split())
    assert REFUSED[line] in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not os.listdir(tmp_path)


def test_a_mistake_in_the_last_job_of_a_sweep_is_found() -> None:
    with pytest.raises(UsageError, match="dataset=minst"):
        compositions("-m", "+method=finetune", "dataset=digits,minst")


def test_a_sweep_is_expanded_to_every_combination() -> None:
    jobs = compositions("-m", "+method=finetune,full/finetune", "seed=range(3)", "dataset=digits")
    told = [(job.choices["method"], job.config.seed) for job in jobs]
    assert told == [(method, seed) for method in ("finetune", "full/finetune") for seed in range(3)]


def test_the_data_set_picks_the_architecture_in_any_order() -> None:
    (usual,) = compositions("dataset=mnist")
    (chosen,) = compositions("architecture=mlp", "dataset=mnist")
    assert usual.config.architecture._target_.endswith("LeNet5")
    assert chosen.config.architecture._target_.endswith("MLP")


def test_full_settings_inherit_the_small_ones() -> None:
    (small,), (full,) = compositions("+method=finetune"), compositions("+method=full/finetune", "method.lr=0.1")
    assert full.config.method.epochs > small.config.method.epochs
    assert full.config.method._target_ == small.config.method._target_
    assert full.config.method.lr == 0.1


def test_method_is_read_with_a_plus() -> None:
    assert with_plus(["method=x", "seed=1"]) == ["+method=x", "seed=1"]


def test_a_users_own_folder_of_configurations(tmp_path: Path) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("defaults: [finetune, _self_]\nepochs: 3\n")
    (job,) = compositions("--config-dir", str(tmp_path), "+method=mine")
    assert job.config.method.epochs == 3
    with pytest.raises(UsageError, match="did you mean mine"):
        compositions("--config-dir", str(tmp_path), "+method=mina")
