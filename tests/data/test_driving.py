"""Driving: bins of steering, blocks of time, and what lies between blocks of two splits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from study.data.driving import Driving, dealt
from study.data.skewed import Skewed
from study.errors import UsageError
from tests.commands import prepared

FRAMES, BLOCK = 200, 10
STEERING = (-0.2, -0.05, 0.0, 0.05, 0.3)
HEADER = "center,left,right,steering,throttle,brake,speed\n"


def image_of(number: int) -> str:
    return f"center_2016_12_01_13_{number // 60:02}_{number % 60:02}_000.jpg"


def write_drive(root: Path, *, header: str = HEADER, folder: str = "IMG/", frames: int = FRAMES) -> Path:
    """Frames that are as bright as their row; the i-th is steered as the i-th of STEERING, over and over."""
    images = root / "driving" / "IMG"
    images.mkdir(parents=True)
    lines = []
    for number in range(frames):
        row = torch.arange(16, dtype=torch.uint8).repeat_interleave(24 * 3) * 10
        Image.frombytes("RGB", (24, 16), bytes(row.tolist())).save(images / image_of(number), quality=95)
        lines.append(f"{folder}{image_of(number)},l,r,{STEERING[number % 5]},0,0,20\n")
    (root / "driving" / "driving_log.csv").write_text(header + "".join(lines))
    return root


def module_at(root: Path, **settings: object) -> Driving:
    chosen: dict[str, object] = {"block": BLOCK, "gap": 2, "size": (16, 24), "rows": (4, 11)} | settings
    return Driving(root=str(root), **chosen)  # type: ignore[arg-type]


def loaded(root: Path, **settings: object) -> Driving:
    module = module_at(root, **settings)
    module.load(0)
    return module


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drive(tmp_path_factory.mktemp("data"))


def test_steering_is_put_into_bins_and_the_thresholds_are_straight(drive: Path) -> None:
    module = loaded(drive)
    for name, split in module.splits.items():
        expected = torch.tensor([0, 1, 1, 1, 2])[module.indices[name] % 5]
        assert torch.equal(split.labels, expected)
    moved = loaded(drive, thresholds=(-0.3, 0.04))
    assert torch.equal(moved.splits["test"].labels, torch.tensor([1, 1, 1, 2, 2])[moved.indices["test"] % 5])


def test_rows_are_cut_out(drive: Path) -> None:
    inputs = loaded(drive).splits["train"].tensors().inputs
    assert inputs.shape[1:] == (3, 8, 24)
    assert torch.allclose(inputs[0, 0, :, 5] * 255, torch.arange(40.0, 120.0, 10.0), atol=4)
    assert loaded(drive, rows=None).input_shape == (3, 16, 24)


def test_a_block_is_in_one_split_and_none_begins_right_after_another_split(drive: Path) -> None:
    module = loaded(drive)
    owner = {place: name for name, places in module.indices.items() for place in places.tolist()}
    for block in range(FRAMES // BLOCK):
        assert len({owner[place] for place in range(block * BLOCK, (block + 1) * BLOCK) if place in owner}) == 1
    changes = 0
    for place, following in pairwise(sorted(owner)):
        if owner[place] != owner[following]:
            assert following - place == 3  # two frames are left out
            changes += 1
        else:
            assert following - place == 1
    assert changes > 5 and len(owner) == FRAMES - 2 * changes


def test_shares_of_the_blocks() -> None:
    split = dealt(40, torch.Generator().manual_seed(0))
    assert split.bincount().tolist() == [24, 4, 6, 6]
    assert dealt(8, torch.Generator()).bincount(minlength=4).min() >= 1
    assert not torch.equal(split, dealt(40, torch.Generator().manual_seed(1)))


def test_a_log_that_the_simulator_wrote_elsewhere_is_the_same(drive: Path, tmp_path: Path) -> None:
    elsewhere = write_drive(tmp_path, header="", folder="C:\\Users\\me\\data\\IMG\\")
    assert loaded(elsewhere).fingerprint == loaded(drive).fingerprint
    assert loaded(elsewhere / "driving").split_hash == loaded(drive).split_hash


def test_the_order_of_lines_plays_no_part(drive: Path, tmp_path: Path) -> None:
    root = write_drive(tmp_path)
    log = root / "driving" / "driving_log.csv"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([lines[0], *reversed(lines[1:])]))
    assert loaded(root).fingerprint == loaded(drive).fingerprint


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda home: (home / "driving_log.csv").unlink(), "there is no .*driving_log.csv; set dataset.root=FOLDER"),
        (lambda home: (home / "IMG" / image_of(7)).unlink(), f"{image_of(7)} cannot be read"),
        (lambda home: (home / "IMG" / image_of(7)).write_bytes(b"<html>"), f"{image_of(7)} cannot be read"),
        (lambda home: replace(home, f"{image_of(3)},l,r,0.05", f"{image_of(3)},l,r,left"), "csv, line 5: expected"),
        (lambda home: replace(home, f"{image_of(3)},l,r,0.05", f"{image_of(3)},l,r,20"), "line 5: .* from -1 to 1"),
        (lambda home: replace(home, "steering", "angle"), "csv, line 2: expected"),
        (lambda home: replace(home, image_of(3), image_of(4)), "is in two lines"),
        (lambda home: (home / "driving_log.csv").write_text(HEADER), "0 frames of .* are 0 blocks"),
    ],
)
def test_missing_and_mixed_up_files_are_named(tmp_path: Path, damage: Callable[[Path], object], sentence: str) -> None:
    damage(write_drive(tmp_path, frames=90) / "driving")
    with pytest.raises(UsageError, match=sentence):
        loaded(tmp_path)


def replace(home: Path, old: str, new: str) -> None:
    path = home / "driving_log.csv"
    path.write_text(path.read_text().replace(old, new))


def test_settings_that_fit_nothing_are_refused(drive: Path) -> None:
    for settings, sentence in (
        ({"thresholds": (0.1, -0.1)}, r"dataset.thresholds=\[0.1,-0.1\]: the first should be below"),
        ({"rows": (4, 16)}, r"dataset.rows=\[4,16\]: should be the first and the last row .* from 0 to 15"),
        ({"gap": 10}, "dataset.gap=10: should be less than dataset.block=10"),
        ({"block": 40}, "dataset.block=40: the 200 frames of .* are 5 blocks .* at least 8"),
    ):
        with pytest.raises(UsageError, match=sentence):
            loaded(drive, **settings)
    with pytest.raises(ValidationError):
        module_at(drive, block=1)


def test_frames_may_not_be_shifted_in_training(drive: Path) -> None:
    small = ("dataset.block=10", "dataset.gap=2", "dataset.size=[16,24]", "dataset.rows=[4,11]")
    (driving,) = prepared("dataset=driving", f"dataset.root={drive}", *small, "architecture=mlp")
    (digits,) = prepared("dataset=digits")
    assert not driving.task.distortable and digits.task.distortable
    assert not Skewed(of=Driving(root=str(drive))).affine_invariant


def test_the_real_drive() -> None:
    module = Driving(limit=300)
    try:
        module.check()
    except UsageError:
        pytest.skip("needs the driving frames in STUDY_DATA")
    steering = torch.tensor([frame.steering for frame in module.log], dtype=torch.float64)
    bins = [int((steering < -0.05).sum()), int((steering > 0.05).sum()), len(steering)]
    assert bins == [1_532, 1_623, 8_036]
