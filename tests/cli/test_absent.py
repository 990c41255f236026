"""A sweep over a pattern of data sets: what is not there is left out, each with a sentence, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from study.cli import absent
from study.cli.absent import own_place, present
from study.errors import UsageError
from study.storage.paths import conf_folder
from tests.data.files import write_mnist

Program = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("STUDY_DATA", str(folder))
    return folder


def chosen(*arguments: str) -> tuple[list[str], list[str]]:
    """The arguments as they are rewritten, and the data set of each job."""
    argv, jobs = present(arguments, conf_folder())
    return argv, [job.choices["dataset"] for job in jobs]


def test_what_is_not_there_is_skipped_and_the_rest_runs(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "-m", "+method=finetune", "dataset=glob([mnist,digits,arrays,image_folder])", "dataset.limit=50"
    code, told, skipped = program(*line)
    assert code == 0
    assert "1 job, in" in told and "finetune digits s0" in told
    lines = [text for text in skipped.splitlines() if text.startswith("study:")]
    assert [text.split()[:3] for text in lines] == [
        ["study:", "skipping", f"dataset={name}:"] for name in ("arrays", "image_folder", "mnist")
    ]
    assert lines[0].endswith("it takes data of your own, which dataset.file names")
    assert "dataset.root=FOLDER" in lines[2] and lines[2].count("dataset=mnist") == 1
    looked_at = absent.looked_at
    monkeypatch.setattr(absent, "looked_at", lambda values, option: pytest.fail() if option == "digits" else looked_at(values, option))  # fmt: skip  # noqa: E501
    code, told, _ = program(*line)
    assert code == 0 and "1 finished before" in told


def test_what_is_named_and_not_there_is_a_mistake(program: Program, tmp_path: Path) -> None:
    code, _, told = program("-m", "+method=finetune", "dataset=digits,mnist")
    assert code == 2 and "dataset=mnist: " in told
    code, _, told = program("-m", "+method=finetune", "dataset=glob(mnist)")
    assert code == 2
    assert told.splitlines()[-1].startswith("study: dataset=glob(mnist): none of these data sets can be used")
    assert not (tmp_path / "multirun").exists()


def test_the_pattern_is_replaced_by_the_names_and_all_else_stays(no_data: Path) -> None:
    write_mnist(no_data)
    argv, data_sets = chosen("-m", "+method=finetune", "dataset=glob([*digits,mnist])", "seed=0,1")
    assert argv == ["-m", "+method=finetune", "dataset=digits,mnist", "seed=0,1"]
    assert data_sets == ["digits", "digits", "mnist", "mnist"]
    assert chosen("-m", "dataset=glob(m*,exclude=[med*,*_s])", "seed=0,1")[1] == ["mnist", "mnist"]


def test_without_a_pattern_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(absent, "looked_at", lambda *_: pytest.fail("this looks at data"))
    assert chosen("-m", "dataset=mnist,digits", "seed=1") == (
        ["-m", "dataset=mnist,digits", "seed=1"],
        ["mnist", "digits"],
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-m", "dataset=glob(*digits)", "dataset.limit=3"), r"^dataset\.limit=3: should be at least 10"),
        (("-m", "dataset=glob(*digits)", "dataset.lmit=30"), "dataset has no key lmit; did you mean limit"),
        (("-m", "dataset=glob(x*)"), r"^dataset=glob\(x\*\): there is no such data set; there are: .*digits"),
        (("dataset=glob(digits)",), "a job takes one value"),
    ],
)
def test_mistakes_in_settings_are_not_skipped(arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        chosen(*arguments)


def test_data_sets_of_ones_own_folder_match_too(tmp_path: Path) -> None:
    for name in ("dataset", "architecture"):
        (tmp_path / "mine" / name).mkdir(parents=True)
    (tmp_path / "mine" / "dataset" / "ours.yaml").write_text("defaults: [digits]\n")
    (tmp_path / "mine" / "architecture" / "default_ours.yaml").write_text("defaults: [mlp]\n")
    argv, data_sets = chosen("-m", "--config-dir", str(tmp_path / "mine"), "dataset=glob([ours,mnist])")
    assert argv[-1] == "dataset=ours" and data_sets == ["ours"]


def test_data_of_ones_own_are_skipped_unless_their_place_is_set() -> None:
    assert own_place({"root": None, "limit": None}) == "dataset.root"
    assert own_place({"root": "here", "limit": None}) is None
    assert own_place({"limit": None}) is None
    assert own_place({"of": {"_target_": "x", "file": None}}) == "dataset.of.file"
