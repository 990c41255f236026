"""Arrays in NumPy's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from study.data.arrays import Arrays
from study.errors import UsageError

LABELS = np.arange(40) % 2
RANDOM = np.random.default_rng(0)
ROWS = RANDOM.random((40, 5)) * 9
PICTURES = RANDOM.random((40, 8, 8))


def loaded(file: Path, **settings: Any) -> Arrays:
    module = Arrays(file=str(file), **settings)
    module.load(0)
    return module


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "mine.npz", **arrays)
    return folder / "mine.npz"


def test_images_are_read_and_can_be_attacked(tmp_path: Path) -> None:
    module = loaded(saved(tmp_path, inputs=(PICTURES * 255).astype(np.uint8), labels=LABELS))
    assert (module.kind, module.input_shape, module.class_names) == ("image", (1, 8, 8), ["0", "1"])
    assert {name: len(split) for name, split in module.splits.items()} == {
        "train": 28,
        "validation": 4,
        "repair": 4,
        "test": 4,
    }
    assert module.threat is not None and (module.threat.radius, module.threat.bounds) == (0.031, (0.0, 1.0))
    assert (module.mean, module.title) == (None, "mine")


def test_rows_are_normalised_by_the_train_split_and_not_attacked(tmp_path: Path) -> None:
    module = loaded(saved(tmp_path, inputs=ROWS, labels=np.array(["no", "yes"])[LABELS], groups=LABELS))
    assert (module.kind, module.class_names, module.group_names) == ("table", ["no", "yes"], ["0", "1"])
    train = module.splits["train"].tensors().inputs
    assert module.mean == pytest.approx(train.mean(0).tolist()) and module.threat is None
    assert loaded(tmp_path / "mine.npz", mean=None, std=None).mean is None
    assert loaded(tmp_path / "mine.npz", epsilon=2).threat.radius == 2  # type: ignore[union-attr]


def test_groups_of_several_attributes_are_their_combinations(tmp_path: Path) -> None:
    attributes = np.stack([LABELS, np.arange(40) // 20 * LABELS], axis=1)
    module = loaded(saved(tmp_path, inputs=np.arange(80).reshape(40, 2), labels=LABELS, groups=attributes))
    assert module.group_names == ["0, 0", "1, 0", "1, 1"]
    for split in module.splits.values():
        item = split.tensors().inputs[:, 0].long() // 2
        assert split.groups is not None and torch.equal(split.groups, item % 2 + item % 2 * (item >= 20))


def test_splits_that_are_given_are_kept(tmp_path: Path) -> None:
    names = ("train", "validation", "repair", "test")
    arrays = {f"{name}_inputs": ROWS[:10] + 100 * place for place, name in enumerate(names)}
    module = loaded(saved(tmp_path, **arrays, **{f"{name}_labels": LABELS[:10] for name in names}))
    for place, name in enumerate(names):
        expected = torch.from_numpy(ROWS[:10] + 100 * place).float()
        assert torch.equal(module.splits[name].tensors().inputs, expected)
    assert not module.random_splits


def test_a_folder_of_npy_files_is_the_same_as_one_file(tmp_path: Path) -> None:
    np.save(tmp_path / "inputs.npy", PICTURES)
    np.save(tmp_path / "labels.npy", LABELS)
    (tmp_path / "notes.txt").write_text("not an array")
    folder, file = loaded(tmp_path), loaded(saved(tmp_path, inputs=PICTURES, labels=LABELS))
    assert (folder.fingerprint, folder.split_hash) == (file.fingerprint, file.split_hash)


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    before = loaded(saved(tmp_path, inputs=PICTURES, labels=LABELS))
    assert loaded(tmp_path / "mine.npz").contents is before.contents
    after = loaded(saved(tmp_path, inputs=PICTURES / 2, labels=LABELS))
    assert after.fingerprint != before.fingerprint


@pytest.mark.parametrize(
    ("arrays", "settings", "sentence"),
    [
        ({"X": ROWS, "y": LABELS}, {}, "holds X; the arrays are inputs and labels, or train_inputs"),
        ({"inputs": ROWS}, {}, "holds no labels"),
        ({"train_inputs": ROWS, "train_labels": LABELS, "test_inputs": ROWS}, {}, "holds no test_labels"),
        (
            {"inputs": ROWS, "labels": LABELS, "test_inputs": ROWS, "test_labels": LABELS},
            {},
            "inputs beside arrays of splits",
        ),
        ({"inputs": PICTURES * 255, "labels": LABELS}, {}, r"images lie in \[0, 1\]"),
        ({"inputs": ROWS, "labels": LABELS + 0.5}, {}, "labels: holds fractions"),
        (
            {
                **{f"{part}_inputs": ROWS for part in ("train", "test")},
                **{f"{part}_labels": LABELS for part in ("train", "test")},
                **{"train_groups": np.stack([LABELS] * 2, 1), "test_groups": LABELS},
            },
            {},
            "groups: have the shapes 40x2 in train, 40 in test",
        ),
        ({"inputs": ROWS.astype(str), "labels": LABELS}, {}, "they are numbers"),
        ({"inputs": np.array([{}] * 40, dtype=object), "labels": LABELS}, {}, "cannot be read .*pickle"),
        ({"inputs": PICTURES, "labels": LABELS}, {"epsilon": 3}, r"dataset.epsilon=3: images lie in \[0, 1\]"),
        ({"inputs": PICTURES, "labels": LABELS}, {"mean": [1.0, 1.0], "std": [1.0, 1.0]}, "each of the 1 channel"),
    ],
)
def test_unusable_arrays_are_refused_before_anything_runs(
    tmp_path: Path, arrays: dict[str, Any], settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence) as refusal:
        Arrays(file=str(saved(tmp_path, **arrays)), **settings).check()
    assert "dataset." in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.npz").write_bytes(b"not an archive")
    (tmp_path / "mine.txt").write_text("1")
    (tmp_path / "empty").mkdir()
    for file, sentence in {
        "mine.npz": "mine.npz cannot be read",
        "gone.npz": "there is no such file or folder",
        "mine.txt": "it takes FILE.npz, or a folder",
        "empty": "holds no arrays",
    }.items():
        with pytest.raises(UsageError, match=sentence):
            Arrays(file=str(tmp_path / file)).check()
    with pytest.raises(UsageError, match="dataset.file is not set: dataset.file=FILE.npz"):
        Arrays().check()
