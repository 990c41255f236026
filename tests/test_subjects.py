"""`python -m study.subjects`: what it tells of each data set, there or not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from study.config.options import options
from study.subjects import Subject, main, subjects_of
from tests.data.files import write_mnist


@pytest.fixture(autouse=True)
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("STUDY_DATA", str(folder))
    return folder


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_DATA", str(tmp_path_factory.mktemp("data")))
        return {subject.name: subject for subject in subjects_of([])}


def test_every_data_set_is_listed_and_says_what_it_is(listed: dict[str, Subject]) -> None:
    assert set(listed) == set(options("dataset"))
    for subject in listed.values():
        if not subject.own:
            assert subject.description and subject.licence and subject.citation, subject
            assert subject.source, subject
        assert not subject.architecture.startswith("default_")
    assert {name for name, subject in listed.items() if subject.own} >= {"arrays", "image_folder", "table", "tokens"}


def test_what_is_known_without_the_data(listed: dict[str, Subject]) -> None:
    digits, mnist, gtsrb = listed["digits"], listed["mnist"], listed["gtsrb"]
    assert (digits.sizes, digits.classes, digits.inputs) == ((800, 197, 400, 400), "10", "1x8x8")
    assert (digits.architecture, digits.epsilon, digits.lack) == ("mlp", "0.1", "")
    assert (mnist.sizes, mnist.architecture) == ((54_000, 6_000, 5_000, 5_000), "lenet5")
    assert "does not hold" in mnist.lack
    assert (gtsrb.classes, gtsrb.inputs, gtsrb.architecture) == ("43", "3x32x32", "vgg11")


def test_a_named_one_is_what_the_list_says(listed: dict[str, Subject]) -> None:
    for subject in subjects_of(["digits", "medmnist", "image_folder"]):
        assert subject.sizes == listed[subject.name].sizes
        assert (subject.citation, subject.own) == (listed[subject.name].citation, listed[subject.name].own)


def test_the_list_fits_a_hundred_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 100
    assert re.search(r"^digits +800 / 197 +10 1x8x8 +- +mlp +0\.1 +yes", told, re.MULTILINE)
    assert re.search(r"^mnist .* no *$", told, re.MULTILINE)
    assert "Data of your own: dataset=arrays dataset.file=..." in told
    assert "dataset.download=true" in told


def test_one_is_told_with_its_citation_and_its_settings(no_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mnist(no_data)
    assert main(["mnist"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "LeCun, Bottou" in told and "there yes" in told and "classes 10" in told
    assert main(["medmnist", "dataset.flag=bloodmnist"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "11,959 / 1,712 / 1,710 / 1,711" in told and "classes 8" in told and "3x28x28" in told
    assert "there no: dataset.flag=bloodmnist: there is no" in told
    assert main(["image_folder"]) == 0
    assert "set dataset.root" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["mnst"], "dataset=mnst: there is no such dataset; did you mean mnist"),
        (["mnist", "dataset.flag=x"], "dataset.flag: dataset has no key flag"),
        (["digits", "dataset.limit=1"], "dataset.limit=1: should be at least 10"),
        (["digits", "dataset._target_=os.system"], "os.system is not trusted"),
        (["--config-dir", "nowhere"], "--config-dir nowhere: there is no such folder"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("study.subjects: ") and sentence in told and told.count("\n") == 1


def test_ones_own_data_set_is_listed(tmp_path: Path) -> None:
    for name in ("dataset", "architecture"):
        (tmp_path / "mine" / name).mkdir(parents=True)
    (tmp_path / "mine" / "dataset" / "ours.yaml").write_text("defaults: [digits]\nlimit: 100\n")
    (tmp_path / "mine" / "architecture" / "default_ours.yaml").write_text("defaults: [mlp]\n")
    (subject,) = subjects_of(["ours"], str(tmp_path / "mine"))
    assert (subject.name, subject.classes, subject.lack) == ("ours", "10", "")
