"""What a job is called, as its command line says."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.config.names import Names
from tests.commands import compositions


def names(*arguments: str) -> Names:
    """The names of a command line of one job."""
    (job,) = compositions(*arguments)
    return Names.of(job.config, job.choices, job.overrides)


APPROACHES = {
    "": "faulty model",
    "+method=arachne": "arachne",
    "+method=arachne seed=3 metric=fast trainer.threads=1": "arachne",
    "+method=full/joint": "full/joint",
    "+method=published/hudd": "published/hudd",
    "+method=arachne method.population=50 method.alpha=2.5": "arachne alpha=2.5 population=50",
    "+method=arachne method.mutation=[0.5,0.9] method.max_places=null": "arachne max_places=null mutation=[0.5,0.9]",
    "+method=arachne safeguard=soft_voting": "arachne + soft_voting",
    "+method=arachne method.population=50 safeguard=soft_voting safeguard.nfr_max=0.01": "arachne population=50 + "
    "soft_voting nfr_max=0.01",
    "+method=joint ++method.epochs=3": "joint epochs=3",
}


@pytest.mark.parametrize("line", APPROACHES)
def test_an_approach_is_named_with_what_the_command_line_changes(line: str) -> None:
    assert names(*line.split()).approach == APPROACHES[line]


SUBJECTS = {
    "": "digits / mlp",
    "dataset=mnist": "mnist / lenet5",
    "dataset=mnist dataset.root=elsewhere dataset.download=true": "mnist / lenet5",
    "dataset.limit=100 faulty.epochs=2": "digits / mlp, dataset.limit=100, faulty.epochs=2",
    "architecture.widths=[16,8] subject.seed=4": "digits / mlp, architecture.widths=[16,8], subject.seed=4",
    "faulty.checkpoint=some/net.safetensors faulty.epochs=2": "digits / mlp, net.safetensors",
    "seed=4 metric=fast": "digits / mlp",
}


@pytest.mark.parametrize("line", SUBJECTS)
def test_a_subject_is_named_with_what_the_command_line_changes(line: str) -> None:
    assert names(*line.split()).subject == SUBJECTS[line]


def test_the_seed_of_the_subject_follows_unless_it_is_set() -> None:
    assert names("seed=3").subject_seed is None
    assert names("seed=3").tags()["subject_seed"] == "3"
    assert names("seed=3", "subject.seed=0").subject_seed == 0
    assert names("seed=3", "subject.seed=3").subject_seed == 3


def test_data_of_ones_own_is_called_by_its_folder_or_file_or_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text("_target_: mine.Data\nname: null\nroot: null\nfile: null\n")
    (tmp_path / "rows.csv").touch()
    monkeypatch.chdir(tmp_path)
    own = ("--config-dir", str(tmp_path), "dataset=mine", "architecture=mlp")
    assert names(*own).dataset == "mine"
    assert names(*own, "dataset.root=some/pictures/").dataset == "pictures"
    assert names(*own, "dataset.root=some/v1.2").dataset == "v1.2"
    assert names(*own, "dataset.file=rows.csv").subject == "rows / mlp"
    named = names(*own, "dataset.root=some/pictures", "dataset.name=cats", "+method=arachne", "seed=2")
    assert (named.run, named.dataset_option, named.subject) == ("arachne cats s2", "mine", "cats / mlp")


def test_a_nested_object_is_told_by_its_class_and_a_long_value_is_cut() -> None:
    told = names("+dataset.transform._target_=torchvision.transforms.v2.Resize", f"+dataset.note={'x' * 99}").subject
    assert told == f"digits / mlp, dataset.note={'x' * 39}…, dataset.transform=Resize"
