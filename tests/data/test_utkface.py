"""Faces whose file names say gender and race."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from study.data import image_files
from study.data.utkface import UTKFace
from study.errors import UsageError


def write_faces(folder: Path, count: int = 48) -> Path:
    """The i-th face has the value i all over, gender i % 2 and race i % 5."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        name = f"{20 + number}_{number % 2}_{number % 5}_20170116174525{number:03}.jpg.chip.jpg"
        Image.fromarray(np.full((20, 20, 3), number, np.uint8)).save(folder / name, quality=100, subsampling=0)
    return folder


def loaded(root: Path, seed: int = 0, **arguments: Any) -> UTKFace:
    module = UTKFace(root=str(root), **({"size": 8} | arguments))
    module.load(seed)
    return module


def numbers(module: UTKFace, name: str) -> list[int]:
    return [round(255 * float(face.mean())) for face in module.splits[name].tensors().inputs]


def test_label_and_group_come_from_the_names(tmp_path: Path) -> None:
    module = loaded(write_faces(tmp_path / "UTKFace"))
    assert (module.class_names, module.group_names) == (["male", "female"], ["white", "non-white"])
    seen = set()
    for name, split in module.splits.items():
        faces = numbers(module, name)
        seen |= set(faces)
        assert split.groups is not None
        assert split.labels.tolist() == [face % 2 for face in faces]
        assert split.groups.tolist() == [int(face % 5 > 0) for face in faces]
    assert seen == set(range(48))


def test_label_and_group_can_be_chosen(tmp_path: Path) -> None:
    module = loaded(write_faces(tmp_path), label="race", group="gender")
    split, faces = module.splits["train"], numbers(module, "train")
    assert split.groups is not None and module.num_classes == 5
    assert split.labels.tolist() == [face % 5 for face in faces]
    assert split.groups.tolist() == [face % 2 for face in faces]
    assert loaded(tmp_path, group=None).splits["train"].groups is None
    with pytest.raises(UsageError, match=r"dataset\.group=race: is the label"):
        UTKFace(label="race")


def test_three_quarters_are_for_training_as_in_the_study(tmp_path: Path) -> None:
    assert [len(split) for split in loaded(write_faces(tmp_path)).splits.values()] == [36, 4, 4, 4]
    source = loaded(tmp_path).read()
    many = type("Many", (), {"labels": torch.zeros(23_705)})()
    generator = torch.Generator().manual_seed(0)
    sizes = [len(places) for places in UTKFace().divide(many, generator).values()]
    assert tuple(sizes) == UTKFace.usual_sizes
    assert len(source.labels) == 48


def test_names_that_lack_a_field_are_counted_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reference = loaded(write_faces(tmp_path))
    for name in ("39_1_20170116174525125", "61_1_20170109142408075", "61_3_20170109150557335"):
        Image.new("RGB", (20, 20)).save(tmp_path / f"{name}.jpg.chip.jpg")
    (tmp_path / "55_0_0_20170116232725357jpg.chip.jpg").write_bytes(
        (tmp_path / "20_0_0_20170116174525000.jpg.chip.jpg").read_bytes()
    )
    with caplog.at_level(logging.WARNING):
        module = loaded(tmp_path)
    assert sum(map(len, module.splits.values())) == 49 == sum(map(len, reference.splits.values())) + 1
    (told,) = [record.getMessage() for record in caplog.records if "utkface" in record.getMessage()]
    assert "3 file(s) left out" in told and "39_1_2017" in told


def test_faces_are_resized_and_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = loaded(write_faces(tmp_path), size=16)
    assert first.splits["train"].tensors().inputs.shape[1:] == (3, 16, 16)

    def forbidden(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(image_files, "opened", forbidden)
    assert loaded(tmp_path, seed=1, size=16).fingerprint == first.fingerprint
    with pytest.raises(AssertionError, match="decoded again"):
        loaded(tmp_path, size=8)


def test_a_face_that_changes_is_decoded_anew(tmp_path: Path) -> None:
    before = loaded(write_faces(tmp_path))
    Image.new("RGB", (20, 20), (200, 0, 0)).save(tmp_path / "20_0_0_20170116174525000.jpg.chip.jpg")
    assert loaded(tmp_path).fingerprint != before.fingerprint


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match=r"holds no file AGE_GENDER_RACE_DATE.*susanqq.*dataset\.root=FOLDER"):
            UTKFace(root=str(root)).check()
    write_faces(tmp_path, 5)
    with pytest.raises(UsageError, match="holds 5 faces; it takes at least 12"):
        loaded(tmp_path)
    write_faces(tmp_path)
    file = tmp_path / "30_0_0_20170116174525010.jpg.chip.jpg"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UsageError, match=f"{file} cannot be read as an image"):
        loaded(tmp_path)


def test_the_real_faces() -> None:
    module = UTKFace(limit=200)
    try:
        module.check()
    except UsageError:
        pytest.skip("needs UTKFace in STUDY_DATA")
    module.load(0)
    assert [len(split) for split in module.splits.values()] == [200] * 4
    split = module.splits["train"]
    assert split.groups is not None
    assert 0.4 < split.labels.double().mean() < 0.6 and 0.5 < split.groups.double().mean() < 0.65
    assert module.mean is not None
    assert torch.allclose(split.tensors().inputs.mean((0, 2, 3)), torch.tensor(module.mean), atol=0.03)
