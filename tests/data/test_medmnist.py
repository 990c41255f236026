"""MedMNIST: grey and RGB, official splits, and files that are not what their name says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from study.data import medmnist
from study.data.medmnist import FLAGS, MedMNIST
from study.errors import UsageError
from tests.commands import prepared
from tests.data.servers import serving

SIZES = {"train": 30, "val": 12, "test": 20}


def arrays_of(flag: str) -> dict[str, NDArray[Any]]:
    """Images that are as bright as their place among all below a white row, with labels in turn."""
    arrays: dict[str, NDArray[Any]] = {}
    known, first = FLAGS[flag], 0
    for part, count in SIZES.items():
        places = np.arange(first, first + count, dtype=np.uint8)
        colours = (28, 28) if known.channels == 1 else (28, 28, 3)
        arrays[f"{part}_images"] = np.broadcast_to(
            places.reshape(count, *(1 for _ in colours)), (count, *colours)
        ).copy()
        arrays[f"{part}_images"][:, 0] = 255
        arrays[f"{part}_labels"] = (places % len(known.classes))[:, None].astype(np.uint8)
        first += count
    return arrays


def write(root: Path, flag: str, arrays: dict[str, NDArray[Any]] | None = None) -> Path:
    root.mkdir(exist_ok=True)
    np.savez(root / f"{flag}.npz", **(arrays or arrays_of(flag)))  # type: ignore[arg-type]
    return root


def loaded(root: Path, flag: str) -> MedMNIST:
    module = MedMNIST(root=str(root), flag=flag)
    module.load(0)
    return module


@pytest.mark.parametrize("flag", FLAGS)
def test_the_splits_are_the_official_ones_and_the_test_part_is_halved(tmp_path: Path, flag: str) -> None:
    module = loaded(write(tmp_path / "medmnist", flag).parent, flag)
    places = {name: (split.tensors().inputs[:, -1, 3, 5] * 255).round().long() for name, split in module.splits.items()}
    assert places["train"].tolist() == list(range(30)) and places["validation"].tolist() == list(range(30, 42))
    assert sorted(torch.cat([places["repair"], places["test"]]).tolist()) == list(range(42, 62))
    assert len(places["repair"]) == len(places["test"]) == 10
    for name, split in module.splits.items():
        assert torch.equal(split.labels, places[name] % module.num_classes)
    assert module.splits["train"].tensors().inputs.shape[1:] == module.input_shape
    white = module.splits["train"].tensors().inputs == 1
    assert white[:, :, 0].all() and not white[:, :, 1:].any()


def test_results_call_it_by_its_flag(tmp_path: Path) -> None:
    write(tmp_path, "bloodmnist")
    (job,) = prepared("+method=finetune", "dataset=medmnist", "dataset.flag=bloodmnist", f"dataset.root={tmp_path}")
    assert job.names.run == "finetune bloodmnist s0"
    assert job.names.subject == f"bloodmnist / {job.names.architecture}"
    assert job.data.title == "bloodmnist" and job.task.num_classes == 8 and job.task.input_shape == (3, 28, 28)


def test_two_flags_never_have_one_fingerprint(tmp_path: Path) -> None:
    flags = ("organamnist", "organcmnist")
    for flag in flags:
        write(tmp_path, flag)
    first, second = (loaded(tmp_path, flag) for flag in flags)
    assert first.content == second.content and first.class_names == second.class_names
    assert first.fingerprint != second.fingerprint


def changed(name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> dict[str, NDArray[Any]]:
    arrays = arrays_of("breastmnist")
    return arrays | {name: change(arrays[name])}


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (arrays_of("bloodmnist"), "train_images are 28x28x3 of uint8; breastmnist has 28x28 of uint8"),
        (changed("val_images", lambda images: images.astype(float)), "val_images are 28x28 of float64"),
        (
            changed("test_labels", lambda labels: labels[:-1]),
            "test_labels are 19x1 of uint8; expected one whole number",
        ),
        (changed("train_labels", lambda labels: labels + 1), "train_labels go from 1 to 2; breastmnist has 2 classes"),
        (changed("train_labels", lambda labels: labels.repeat(14, 1)), "train_labels are 30x14"),
        (changed("train_labels", lambda labels: labels.astype(object)), "cannot be read .*allow_pickle"),
        ({"train_images": np.zeros((3, 28, 28))}, "holds no train_labels; expected train_images"),
    ],
)
def test_files_of_something_else_are_named(tmp_path: Path, arrays: dict[str, NDArray[Any]], sentence: str) -> None:
    write(tmp_path, "breastmnist", arrays)
    with pytest.raises(UsageError, match=sentence) as refusal:
        loaded(tmp_path, "breastmnist")
    assert str(tmp_path / "breastmnist.npz") in str(refusal.value)


def test_one_data_set_under_the_name_of_another_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (SIZES["train"], SIZES["val"], SIZES["test"])
    monkeypatch.setitem(FLAGS, "pneumoniamnist", FLAGS["pneumoniamnist"]._replace(sizes=sizes))
    write(tmp_path, "breastmnist")
    with pytest.raises(UsageError, match="holds as many images as pneumoniamnist has; get breastmnist anew"):
        loaded(tmp_path, "breastmnist")


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_archive_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "breastmnist.npz").write_bytes(content)
    with pytest.raises(UsageError, match="breastmnist.npz cannot be read"):
        loaded(tmp_path, "breastmnist")


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "breastmnist") / "breastmnist.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UsageError, match="breastmnist.npz cannot be read"):
        loaded(tmp_path, "breastmnist")


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("chestmnist", "several labels each"),
        ("organmnist3d", "is in 3D"),
        ("bloodmist", "did you mean bloodmnist"),
    ],
)
def test_what_is_no_classification_of_images_is_refused(flag: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=f"dataset.flag={flag}: .*{sentence}"):
        MedMNIST(flag=flag)


def test_a_missing_file_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no .*medmnist/octmnist.npz; set dataset\.root.*download=true"):
        MedMNIST(root=str(tmp_path), flag="octmnist").check()
    MedMNIST(root=str(tmp_path), flag="octmnist", download=True).check()


def test_it_is_downloaded_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (write(tmp_path / "theirs", "breastmnist") / "breastmnist.npz").read_bytes()
    module = MedMNIST(root=str(tmp_path), flag="breastmnist", download=True)
    with serving() as server:
        module.known = module.known._replace(md5=server.holds("breastmnist.npz", content, "wrong", "cut"))
        monkeypatch.setattr(medmnist, "URL", f"{server.url}{{flag}}.npz?download=1")
        for reason in ("its MD5 is", "the connection ended"):
            with pytest.raises(UsageError, match=rf"breastmnist.npz\?download=1 could not be fetched \({reason}"):
                module.load(0)
            assert not (tmp_path / "medmnist" / "breastmnist.npz").exists()
        for _ in range(2):
            module.load(0)
        assert len(server.asked) == 3
    assert (tmp_path / "medmnist" / "breastmnist.npz").read_bytes() == content


def test_the_half_that_an_interrupted_download_of_others_left_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "medmnist", "breastmnist") / "breastmnist.npz"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UsageError, match="breastmnist.npz cannot be read .*: get it anew"):
        MedMNIST(root=str(tmp_path), flag="breastmnist", download=True).load(0)


@pytest.mark.parametrize(("flag", "ones"), [("breastmnist", 399), ("pneumoniamnist", 3_494)])
def test_the_real_files(flag: str, ones: int) -> None:
    module = MedMNIST(flag=flag)
    try:
        module.check()
    except UsageError:
        pytest.skip(f"needs {flag} in STUDY_DATA")
    module.load(0)
    assert tuple(len(split) for split in module.splits.values()) == module.usual_sizes
    assert int(module.splits["train"].labels.sum()) == ones
