"""`python -m study.subjects`: what it tells of each data set, there or not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.console import Console

from study.config.options import options
from study.subjects import Subject, _page, main, show, subjects_of
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
    assert (listed["bugs2fix"].classes, listed["bugs2fix"].inputs, listed["adult"].classes) == ("2", "72 tokens", "2")
    assert listed["cifar10s"].inputs == "3x32x32" and listed["mnist_s"].inputs == "3x28x28"
    assert (gtsrb.classes, gtsrb.inputs, gtsrb.architecture) == ("43", "3x32x32", "vgg11")


def test_a_named_one_is_what_the_list_says(listed: dict[str, Subject]) -> None:
    for subject in subjects_of(["digits", "medmnist", "image_folder"]):
        assert subject.sizes == listed[subject.name].sizes
        assert (subject.citation, subject.own) == (listed[subject.name].citation, listed[subject.name].own)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_list_is_cut_nowhere(
    width: int, listed: dict[str, Subject], no_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(list(listed.values()), Console(width=width, highlight=False))
    told = capsys.readouterr().out
    folder = f"The data folder is {no_data}; STUDY_DATA or dataset.root names another one."
    assert folder in told
    assert max(len(line) for line in told.splitlines() if line != folder) <= width
    assert "…" not in told, "a column is too narrow"
    for subject in listed.values():
        assert subject.own or len(re.findall(rf"^{subject.name} ", told, re.MULTILINE)) == 2
    assert re.search(r"^digits +800 / 197 +10 +- +mlp +yes *\n +400 / 400 +1x8x8 +0\.1 *$", told, re.MULTILINE)
    assert re.search(r"^cifar10s .* colour, +resnet18 +no *$|^cifar10s .* colour, grey +resnet18", told, re.MULTILINE)
    assert re.search(r"^mnist .* no *$", told, re.MULTILINE)
    assert "Data of your own: dataset=arrays dataset.file=..." in told
    for subject in listed.values():
        assert subject.own or not subject.lack or joined(f"To get it: {subject.source}") in joined(told)
    assert told.count("Licence: ") == sum(not subject.own for subject in listed.values())


def joined(text: str) -> str:
    """Without blanks and line breaks, wherever they are."""
    return "".join(text.split())


def test_where_the_output_is_no_terminal_it_has_a_hundred_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 80 < max(len(line) for line in lines if not line.startswith("The data folder")) <= 100


def test_one_is_told_with_its_citation_and_its_settings(no_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mnist(no_data)
    assert main(["mnist"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "LeCun, Bottou" in told and "there yes" in told and "classes 10" in told
    assert main(["medmnist", "dataset.flag=bloodmnist"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "11,959 / 1,712 / 1,710 / 1,711" in told and "classes 8" in told and "3x28x28" in told
    assert "there no: dataset.flag=bloodmnist: there is no" in told
    assert f"The data folder is {no_data}; STUDY_DATA or dataset.root names another one." in told
    assert main(["image_folder"]) == 0
    told = capsys.readouterr().out
    assert "set dataset.root" in told and "licence" not in told and "The data folder" not in told


def test_an_address_is_told_whole_and_a_reason_once(listed: dict[str, Subject], no_data: Path) -> None:
    console = Console(width=80, highlight=False, record=True)
    for name in ("german", "bugs2fix"):
        console.print(_page(listed[name]))
    told = console.export_text()
    assert "…" not in told and joined(listed["german"].source) in joined(re.sub(r" {20,}", "", told))
    assert told.count("CodeXGLUE's") == 2 and told.count("dataset.root") == 0  # in source and licence


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
