"""Folders of images in every layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from study.data.image_folder import ImageFolder
from study.errors import UsageError
from tests.data.files import write_images

TWO = {"cat": 20, "dog": 20}


def loaded(root: Path, seed: int = 0, **arguments: object) -> ImageFolder:
    module = ImageFolder(**({"root": str(root), "size": (8, 8), "channels": 1} | arguments))  # type: ignore[arg-type]
    module.load(seed)
    return module


def values(module: ImageFolder, name: str) -> set[int]:
    """The values of a split's (uniform) images."""
    split = module.splits[name]
    return set((split.inputs[torch.arange(len(split))][:, 0, 0, 0] * 255).round().int().tolist())


def sizes(module: ImageFolder) -> dict[str, int]:
    return {name: len(split) for name, split in module.splits.items()}


def test_class_folders_alone_are_split_at_random(tmp_path: Path) -> None:
    module = loaded(write_images(tmp_path, TWO))
    assert sizes(module) == {"train": 28, "validation": 4, "repair": 4, "test": 4}
    assert set().union(*(values(module, name) for name in module.splits)) == set(range(40))
    assert module.class_names == ["cat", "dog"] and module.num_classes == 2
    assert module.random_splits


def test_labels_follow_the_class_folders(tmp_path: Path) -> None:
    module = loaded(write_images(tmp_path, TWO))
    for split in module.splits.values():
        value = (split.tensors().inputs[:, 0, 0, 0] * 255).round()
        assert torch.equal(split.labels, (value >= 20).long())


def test_a_test_folder_is_halved_into_repair_and_test(tmp_path: Path) -> None:
    write_images(tmp_path / "train", TWO)
    write_images(tmp_path / "test", {"cat": 5, "dog": 5}, first=100)
    module = loaded(tmp_path)
    assert sizes(module) == {"train": 36, "validation": 4, "repair": 5, "test": 5}
    assert values(module, "repair") | values(module, "test") == set(range(100, 110))
    assert not module.random_splits


def test_four_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    for place, part in enumerate(("train", "validation", "repair", "test")):
        write_images(tmp_path / part, {"cat": 3, "dog": 2 + place}, first=20 * place)
    module = loaded(tmp_path)
    for place, name in enumerate(module.splits):
        assert values(module, name) == set(range(20 * place, 20 * place + 5 + place))
    assert loaded(tmp_path, seed=1).split_hash == module.split_hash


def test_only_what_is_missing_is_drawn(tmp_path: Path) -> None:
    write_images(tmp_path / "train", TWO)
    write_images(tmp_path / "validation", {"cat": 2, "dog": 2}, first=100)
    module = loaded(tmp_path)
    assert sizes(module) == {"train": 32, "validation": 4, "repair": 4, "test": 4}
    assert values(module, "validation") == set(range(100, 104))


def test_lazy_equals_eager(tmp_path: Path) -> None:
    write_images(tmp_path, TWO)
    eager, lazy = loaded(tmp_path, channels=3), loaded(tmp_path, channels=3, in_memory_gib=0)
    assert (eager.fingerprint, eager.split_hash) == (lazy.fingerprint, lazy.split_hash)
    for name, split in eager.splits.items():
        assert isinstance(split.inputs, torch.Tensor) and not isinstance(lazy.splits[name].inputs, torch.Tensor)
        for mine, other in zip(split.batches(3), lazy.splits[name].batches(3), strict=True):
            assert torch.equal(mine.inputs, other.inputs) and torch.equal(mine.labels, other.labels)
    with pytest.raises(UsageError, match=r"raise dataset\.in_memory_gib"):
        lazy.splits["train"].tensors()


def test_limit_decides_what_fits_into_memory(tmp_path: Path) -> None:
    write_images(tmp_path, TWO)
    room = 25 * 8 * 8 * 4 / 2**30
    assert not isinstance(loaded(tmp_path, in_memory_gib=room).splits["train"].inputs, torch.Tensor)
    limited = loaded(tmp_path, in_memory_gib=room, limit=10)
    assert isinstance(limited.splits["train"].inputs, torch.Tensor)
    assert sizes(limited) == {"train": 10, "validation": 4, "repair": 4, "test": 4}


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "LA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_grey_or_rgb(tmp_path: Path, mode: str, channels: int) -> None:
    for name in ("cat", "dog"):
        write_images(tmp_path, {name: 5})
        suffix = "tif" if mode == "CMYK" else "png"
        Image.new("L", (11, 7), 255).convert(mode).save(tmp_path / name / f"white.{suffix}")
    module = loaded(tmp_path, size=(6, 9), channels=channels)
    inputs = torch.cat([split.tensors().inputs for split in module.splits.values()])
    assert inputs.shape == (12, channels, 6, 9)
    assert (inputs == 1).flatten(1).all(1).sum() == 2


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(5):
            pixels = np.full((8, 8), 128 * 256 + number, dtype=np.uint16)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    assert values(loaded(tmp_path), "train") == {128}


def test_colours_keep_their_channels(tmp_path: Path) -> None:
    for name, colour in {"blue": (0, 0, 255), "red": (255, 0, 0)}.items():
        (tmp_path / name).mkdir()
        for number in range(5):
            Image.new("RGB", (4, 4), colour).save(tmp_path / name / f"{number}.png")
    split = loaded(tmp_path, size=(4, 4), channels=3).splits["train"]
    expected = torch.tensor([[0.0, 0, 1], [1, 0, 0]])[split.labels]
    assert torch.equal(split.tensors().inputs.mean((2, 3)), expected)


def test_fingerprint_follows_pixels_and_presentation(tmp_path: Path) -> None:
    write_images(tmp_path, TWO)
    before = loaded(tmp_path)
    assert loaded(tmp_path, size=(9, 8)).fingerprint != before.fingerprint
    assert loaded(tmp_path, mean=[0.5], std=[0.5]).fingerprint != before.fingerprint
    assert loaded(tmp_path).fingerprint == before.fingerprint
    with Image.open(tmp_path / "cat" / "000.png") as image:
        image.putpixel((0, 0), 255)
        image.save(tmp_path / "cat" / "000.png")
    assert loaded(tmp_path).fingerprint != before.fingerprint


def test_hidden_and_other_files_are_ignored(tmp_path: Path) -> None:
    reference = loaded(write_images(tmp_path, TWO))
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "cat" / "._000.png").write_bytes(b"resource fork")
    (tmp_path / ".cache").mkdir()
    write_images(tmp_path / "cat", {".ipynb_checkpoints": 3})
    module = loaded(tmp_path)
    assert (module.fingerprint, module.split_hash) == (reference.fingerprint, reference.split_hash)


def test_unreadable_image_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, TWO)
    path = tmp_path / "dog" / "007.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UsageError, match=f"{path} cannot be read as an image"):
        loaded(tmp_path)
    lazy = loaded(tmp_path, in_memory_gib=0)
    with pytest.raises(UsageError, match=f"{path} cannot be read as an image"):
        for split in lazy.splits.values():
            list(split.batches(5))


def _beside(root: Path) -> None:
    write_images(root / "train", TWO)
    write_images(root / "val", TWO)


def _without_train(root: Path) -> None:
    write_images(root / "test", TWO)


def _other_classes(root: Path) -> None:
    write_images(root / "train", TWO)
    write_images(root / "test", {"cat": 3, "fox": 3})


def _one_class(root: Path) -> None:
    write_images(root, {"cat": 3})


def _empty_class(root: Path) -> None:
    write_images(root, {"cat": 3, "dog": 0})


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda root: None, "holds no folders.*dataset.root=FOLDER"),
        (lambda root: root.rmdir(), "does not exist.*dataset.root=FOLDER"),
        (_beside, "holds val beside train"),
        (_without_train, "holds no folder train"),
        (_other_classes, "has the class folder dog, .*test has not"),
        (_one_class, "holds one class, cat"),
        (_empty_class, "dog holds no image"),
    ],
)
def test_unusable_folder_is_refused_before_loading(tmp_path: Path, make: Callable[[Path], None], sentence: str) -> None:
    make(tmp_path)
    with pytest.raises(UsageError, match=sentence) as refusal:
        ImageFolder(root=str(tmp_path)).check()
    assert str(tmp_path) in str(refusal.value) and "\n" not in str(refusal.value)


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "train", TWO)
    write_images(tmp_path / "test", {"cat": 0, "dog": 1})
    with pytest.raises(UsageError, match="no item is left for the repair split"):
        loaded(tmp_path)


def write_sizes(root: Path, sizes: list[tuple[int, int]]) -> Path:
    """A class folder each for cat and dog with an image of each size (height, width)."""
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number, (height, width) in enumerate(sizes):
            Image.new("RGB", (width, height), 7 * number).save(root / name / f"{number}.png")
    return root


def test_the_size_is_that_of_the_images(tmp_path: Path) -> None:
    module = loaded(write_sizes(tmp_path, [(12, 9)] * 5), size=None, channels=3)
    assert module.input_shape == (3, 12, 9)
    assert module.splits["train"].tensors().inputs.shape[1:] == (3, 12, 9)
    assert loaded(tmp_path, size=16).input_shape == (1, 16, 16)
    assert module.fingerprint == loaded(tmp_path, size=(12, 9), channels=3).fingerprint


def test_images_of_several_sizes_are_refused_with_the_sizes(tmp_path: Path) -> None:
    write_sizes(tmp_path, [(12, 9), (12, 9), (12, 9), (8, 8), (8, 8), (7, 8)])
    with pytest.raises(UsageError) as refusal:
        ImageFolder(root=str(tmp_path)).check()
    sentence = str(refusal.value)
    assert "of 3 sizes, height x width 12x9 (6), 8x8 (4), 7x8 (2)" in sentence
    assert str(tmp_path / "cat" / "5.png") in sentence and "set dataset.size, for example to [12,9]" in sentence


def test_headers_are_read_once_for_all_jobs_and_again_where_a_file_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sizes(tmp_path, [(8, 8)] * 3)
    ImageFolder(root=str(tmp_path)).check()
    monkeypatch.setattr("study.data.image_sizes.Image.open", lambda path: pytest.fail(f"{path} is read again"))
    ImageFolder(root=str(tmp_path)).check()
    monkeypatch.undo()
    Image.new("RGB", (9, 8)).save(tmp_path / "dog" / "2.png")
    with pytest.raises(UsageError, match="of 2 sizes"):
        ImageFolder(root=str(tmp_path)).check()


def test_a_file_that_is_no_image_is_named_before_anything_runs(tmp_path: Path) -> None:
    (write_sizes(tmp_path, [(8, 8)] * 3) / "cat" / "1.png").write_text("not an image")
    with pytest.raises(UsageError, match=r"cat/1.png cannot be read as an image"):
        ImageFolder(root=str(tmp_path)).check()


def test_results_call_the_data_by_its_folder_or_its_name(tmp_path: Path) -> None:
    write_images(tmp_path / "pets", TWO)
    assert ImageFolder(root=str(tmp_path / "pets")).title == "pets"
    named = loaded(tmp_path / "pets", name="my pets")
    assert named.title == "my pets" and named.fingerprint == loaded(tmp_path / "pets").fingerprint


@pytest.mark.parametrize("arguments", [{"mean": [0.5]}, {"std": [0.5]}, {"mean": [0.5], "std": [0.5, 0.5, 0.5]}])
def test_normalisation_takes_one_value_per_channel(tmp_path: Path, arguments: dict[str, list[float]]) -> None:
    write_images(tmp_path, TWO)
    with pytest.raises(UsageError, match="one value for each of the 3 channel"):
        ImageFolder(root=str(tmp_path), **arguments).check()  # type: ignore[arg-type]


def test_size_comes_from_a_config(tmp_path: Path) -> None:
    write_images(tmp_path, TWO)
    target = "study.data.image_folder.ImageFolder"
    config = OmegaConf.create({"_target_": target, "root": str(tmp_path), "size": [16, 20]})
    module = instantiate(config, _convert_="all")
    module.load(0)
    assert module.splits["test"].tensors().inputs.shape[1:] == module.input_shape == (3, 16, 20)
