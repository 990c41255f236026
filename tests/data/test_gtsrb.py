"""GTSRB: signs are told apart by their tracks, and labels come from the folder or the file of the test set."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from study.data import gtsrb
from study.data.gtsrb import GTSRB
from study.errors import UsageError
from tests.data.servers import serving

TRACKS, FRAMES, TESTS = 3, 4, 20
TRUTH = "gtsrb/GT-final_test.csv"


def write_gtsrb(root: Path) -> Path:
    """43 classes of 3 tracks of 4 frames, each as bright as its place in the track, and 20 test images."""
    home = root / "gtsrb"
    for label in range(43):
        folder = home / "GTSRB" / "Training" / f"{label:05}"
        folder.mkdir(parents=True)
        for track in range(TRACKS):
            for frame in range(FRAMES):
                colour = (label, track, 50 * frame)
                Image.new("RGB", (12 + frame, 12), colour).save(folder / f"{track:05}_{frame:05}.ppm")
    images = home / "GTSRB" / "Final_Test" / "Images"
    images.mkdir(parents=True)
    rows = ["Filename;Width;Height;ClassId"]
    for number in range(TESTS):
        Image.new("RGB", (10, 10), (200 + number, 0, 0)).save(images / f"{number:05}.ppm")
        rows.append(f"{number:05}.ppm;10;10;{2 * number}")
    (root / TRUTH).write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gtsrb(tmp_path_factory.mktemp("data"))


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def loaded(root: Path, seed: int = 0) -> GTSRB:
    module = GTSRB(root=str(root), size=8)
    module.load(seed)
    return module


def test_no_track_is_in_two_splits_and_every_class_has_one_in_validation(whole: Path) -> None:
    module = loaded(whole)
    tracks: dict[str, list[tuple[int, ...]]] = {"train": [], "validation": []}
    for name, found in tracks.items():
        split = module.splits[name]
        colours = (split.tensors().inputs[:, :, 0, 0] * 255).round().long()
        assert torch.equal(colours[:, 0], split.labels)
        found += [tuple(row) for row in colours[:, :2].tolist()]
    assert not set(tracks["train"]) & set(tracks["validation"])
    assert {label for label, _ in tracks["validation"]} == set(range(43))
    assert len(tracks["validation"]) == 43 * FRAMES and len(tracks["train"]) == 2 * 43 * FRAMES


def test_repair_and_test_are_halves_of_the_official_test_set(whole: Path) -> None:
    module = loaded(whole)
    reds = {
        name: (module.splits[name].tensors().inputs[:, 0, 0, 0] * 255).round().long() for name in ("repair", "test")
    }
    assert len(reds["repair"]) == len(reds["test"]) == TESTS // 2
    assert sorted(torch.cat(list(reds.values())).tolist()) == list(range(200, 200 + TESTS))
    for name, red in reds.items():
        assert torch.equal(module.splits[name].labels, 2 * (red - 200))


def test_the_split_follows_the_seed(whole: Path) -> None:
    assert loaded(whole, 0).split_hash == loaded(whole, 0).split_hash != loaded(whole, 1).split_hash


def test_the_folder_itself_may_be_the_root(whole: Path) -> None:
    assert loaded(whole / "gtsrb").fingerprint == loaded(whole).fingerprint


def test_there_are_43_names() -> None:
    names = GTSRB().class_names
    assert len(set(names)) == 43
    assert (names[5], names[14], names[33], names[40]) == ("speed limit 80", "stop", "turn right", "roundabout")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda root: (root / TRUTH).unlink(),
            "there is no .*GT-final_test.csv; set dataset.root=FOLDER or STUDY_DATA",
        ),
        (lambda root: shutil.rmtree(root / "gtsrb/GTSRB/Final_Test"), "there is no .*Final_Test/Images"),
        (
            lambda root: shutil.rmtree(root / "gtsrb/GTSRB/Training/00007"),
            "Training/00007 holds images of fewer than two",
        ),
        (lambda root: (root / "gtsrb/GTSRB/Final_Test/Images/00003.ppm").unlink(), "00003.ppm cannot be read"),
        (lambda root: cut(root / "gtsrb/GTSRB/Training/00001/00000_00000.ppm"), "00000_00000.ppm cannot be read"),
        (lambda root: rename(root, "00000_00000.ppm", "first.ppm"), "first.ppm: is not named TRACK_FRAME.ppm"),
        (
            lambda root: replace(root, "00002.ppm;10;10;4", "00002.ppm;10;10;43"),
            "csv, line 4: expected .*ClassId .0 to 42",
        ),
        (lambda root: replace(root, "ClassId", "Class"), "csv, line 2: expected a row with Filename"),
        (lambda root: replace(root, "00002.ppm", "../../secret.ppm"), "csv, line 4: expected"),
        (lambda root: replace(root, "00002.ppm", "00001.ppm"), "csv, line 4: 00001.ppm has a label already"),
        (lambda root: (root / TRUTH).write_text("Filename;ClassId\n"), "holds 0 labels"),
    ],
)
def test_missing_and_mixed_up_files_are_named(root: Path, damage: Callable[[Path], object], sentence: str) -> None:
    damage(root)
    with pytest.raises(UsageError, match=sentence):
        loaded(root)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def rename(root: Path, old: str, new: str) -> None:
    folder = root / "gtsrb/GTSRB/Training/00000"
    (folder / old).rename(folder / new)


def replace(root: Path, old: str, new: str) -> None:
    path = root / TRUTH
    path.write_text(path.read_text().replace(old, new))


def test_it_is_downloaded_as_torchvision_lays_it_out(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = ("GTSRB/Training", "GTSRB/Final_Test/Images", "GT-final_test.csv")
    with serving() as server:
        md5s = {
            name: server.holds(name, zipped(whole / "gtsrb", part))
            for name, part in zip(gtsrb.ARCHIVES, parts, strict=True)
        }
        monkeypatch.setattr(gtsrb, "ARCHIVES", md5s)
        monkeypatch.setattr(gtsrb, "URL", server.url)
        second = list(md5s)[1]
        server.moods[second] = ["cut"]
        module = GTSRB(root=str(tmp_path), size=8, download=True)
        with pytest.raises(UsageError, match=f"{second} could not be fetched .* in {tmp_path}/gtsrb, or set dataset"):
            module.load(0)
        assert not list(tmp_path.rglob("*.ppm"))
        for _ in range(2):  # once
            module.load(0)
        assert server.asked == [*list(md5s)[:2], *md5s]
    assert module.fingerprint == loaded(whole).fingerprint
    assert sorted(path.name for path in (tmp_path / "gtsrb").iterdir()) == ["GT-final_test.csv", "GTSRB"]


def zipped(home: Path, part: str) -> bytes:
    """An archive of a part of a folder, below its names from there."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted([home / part, *(home / part).rglob("*")]):
            archive.write(path, path.relative_to(home))
    return content.getvalue()


def test_the_real_gtsrb() -> None:
    module = GTSRB(limit=200)
    try:
        module.check()
    except UsageError:
        pytest.skip("needs GTSRB in STUDY_DATA")
    module.load(0)
    assert [len(split) for split in module.splits.values()] == [200] * 4
    assert module.splits["train"].labels.bincount(minlength=43).argmax() in (1, 2, 12, 13)  # the largest classes
    assert 0.2 < module.splits["train"].tensors().inputs.mean() < 0.45
