"""Names and keys that are not there get one sentence, and nothing is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from study.config import overrides
from study.config.compose import for_hydra, parsed, with_plus
from study.config.overrides import GROUPS, KEYS
from study.config.settings import Settings
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
    "seed=[1": "seed=[1: the value cannot be read",
    "metric.attacks.pgd.steps=3": "metric.attacks.pgd.steps: there is no key metric.attacks.pgd",
    "--config-dir nowhere": "there is no such folder",
    "+method=arachne,joint": "a job takes one value; several in turn are a multirun: -m +method=arachne,joint",
    "method=arachne,joint": "-m +method=arachne,joint",
    "seed=0,1": "-m seed=0,1",
    "seed=range(3)": "-m seed=range(3)",
    "architecture.widths=8,4": "a list is architecture.widths=[8,4]",
    "dataset=[digits,mnist]": "a job takes one dataset",
    "dataset=null": "dataset=null: there is no such dataset; there are: ",
    "metod.population=3": "metod.population: the configuration has no key metod; did you mean method.population?",
    "+metod.population=3": "did you mean method.population?",
    "hydra/launcher=jobliib": "hydra/launcher=jobliib: there is no such launcher; did you mean joblib?",
    "hydra/lancher=joblib": "hydra/lancher: hydra has no group lancher; did you mean launcher?",
    "hydra/sweeper=basik": "hydra/sweeper=basik: there is no such sweeper; did you mean basic?",
    "hydra/launcher=joblib hydra.launcher.n_jbs=2": "hydra.launcher has no key n_jbs; did you mean n_jobs?",
    "hydra/launcher=joblib hydra.launcher.n_jobs=abc": "hydra.launcher.n_jobs=abc: Value 'abc'",
    "list": "list: is no setting, which is KEY=VALUE; `python -m study --help` lists what there is",
    "arachne": "did you mean method=arachne?",
    "aracne": "did you mean method=arachne?",
    "seed": "did you mean seed=VALUE?",
    "dataset": "did you mean dataset=NAME?",
    "report": "did you mean python -m study.report?",
    "=3": "=3: is no setting",
    "+dataset=mnist": "+dataset=mnist: write dataset=mnist",
    "++dataset=mnist": "write dataset=mnist",
    "+seed=3": "+seed: is there already; write seed=VALUE",
    "subject.sed=1": "subject has no key sed; did you mean seed?",
    "dataset=digits ~dataset": "dataset: is missing; choose one with dataset=NAME",
    "seed=1 --multrun": "--multrun: there is no such option; did you mean --multirun",
    "--cfg jo": "invalid choice: 'jo'",
    "--cfg job -m seed=0,1": "--multirun --cfg: only one of these at a time",
    "-m seed=interval(0,3)": "an interval needs a sweeper that searches, hydra/sweeper=optuna; otherwise list",
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


def test_options_may_stand_anywhere() -> None:
    line = ["+method=finetune,joint", "-m", "seed=0,1", "--config-dir", "mine", "method.epochs=3"]
    arguments = parsed(line)
    assert arguments.multirun and arguments.config_dir == "mine"
    overrides = ["+method=finetune,joint", "seed=0,1", "++method.epochs=3"]
    assert for_hydra(line, arguments) == [*overrides, "-m", "--config-dir", "mine"]
    assert for_hydra(["seed=1", "--info"], parsed(["seed=1", "--info"])) == ["seed=1", "--info"]
    assert len(compositions("+method=finetune,joint", "-m", "seed=0,1")) == 4


def test_a_setting_of_a_swept_data_set_reaches_it_though_the_usual_one_has_none() -> None:
    line = ["-m", "dataset=compas,german", "dataset.group=[sex]", "architecture=mlp", "architecture.widths=[8]"]
    overrides = ["dataset=compas,german", "++dataset.group=[sex]", "architecture=mlp", "architecture.widths=[8]"]
    assert for_hydra(line, parsed(line)) == [*overrides, "-m"]


def test_a_search_makes_its_objective_as_high_as_possible_unless_it_is_told_otherwise() -> None:
    for line, added in (
        (["-m", "hydra/sweeper=optuna", "seed=0,1"], ["hydra.sweeper.direction=maximize"]),
        (["-m", "hydra/sweeper=optuna", "hydra.sweeper.direction=minimize"], []),
        (["-m", "seed=0,1"], []),
        (["hydra/sweeper=optuna"], []),
    ):
        given = parsed(line)
        assert for_hydra(line, given) == [*given.overrides, *added, *(["-m"] if given.multirun else [])]


def test_a_pattern_sweeps_over_the_names_that_it_fits() -> None:
    jobs = compositions("-m", "+method=glob(f*)")
    assert [job.choices["method"] for job in jobs] == ["finetune", "fsgmix"]


@pytest.mark.parametrize(
    ("line", "extra"),
    [
        ("-m hydra/sweeper=optuna seed=interval(0,3)", "optuna"),
        ("-m hydra/launcher=submitit_slurm seed=0,1", "slurm"),
    ],
)
def test_a_plugin_that_is_not_installed(line: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overrides, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=rf"is not installed; pip install 'repair-study\[{extra}\]' adds it"):
        compositions(*line.split())


def test_a_search_is_checked_on_some_of_its_jobs() -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper.optuna_sweeper")
    line = ["-m", "hydra/sweeper=optuna", "+method=finetune,joint", "method.lr=interval(0.25,0.75)"]
    jobs = compositions(*line)
    assert [(job.choices["method"], job.config.method.lr) for job in jobs] == [("finetune", 0.5), ("joint", 0.5)]
    with pytest.raises(UsageError, match="method has no key rate"):
        compositions(*line, "method.rate=interval(0,1)")
    with pytest.raises(UsageError, match="plan=true: hydra/sweeper=optuna chooses its jobs while it runs"):
        compositions(*line, "plan=true")


def test_keys_are_the_groups_and_the_settings() -> None:
    assert set(KEYS) == {*GROUPS, *Settings.model_fields}
    (job,) = compositions("+method=finetune")
    assert set(job.config) == set(KEYS)


def test_a_users_own_folder_of_configurations(tmp_path: Path) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("defaults: [finetune, _self_]\nepochs: 3\n")
    (job,) = compositions("--config-dir", str(tmp_path), "+method=mine")
    assert job.config.method.epochs == 3
    with pytest.raises(UsageError, match="did you mean mine"):
        compositions("--config-dir", str(tmp_path), "+method=mina")
