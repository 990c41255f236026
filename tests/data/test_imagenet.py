"""A folder of a few classes in ImageNet's layout."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from study.data.imagenet import ImageNet
from study.errors import UsageError
from tests.data.files import write_images, write_photos

FEW = {"n01440764": 20, "n01443537": 20, "n01484850": 10}


def write_imagenet(folder: Path) -> Path:
    """50 training and 12 validation images; the i-th has the value i (validation: 100 + i) all over."""
    write_images(folder / "train", FEW)
    write_images(folder / "val", dict.fromkeys(FEW, 4), first=100)
    return folder


def loaded(root: Path, seed: int = 0, **arguments: Any) -> ImageNet:
    module = ImageNet(root=str(root), **({"resize": 10, "size": 8} | arguments))
    module.load(seed)
    return module


def values(module: ImageNet, name: str) -> set[int]:
    split = module.splits[name]
    return set((split.inputs[torch.arange(len(split))][:, 0, 0, 0] * 255).round().int().tolist())


def test_validation_is_a_part_of_train_and_the_official_one_is_halved(tmp_path: Path) -> None:
    module = loaded(write_imagenet(tmp_path / "imagenet").parent)
    assert module.class_names == list(FEW) and not module.random_splits
    assert [len(split) for split in module.splits.values()] == [45, 5, 6, 6]
    assert values(module, "train") | values(module, "validation") == set(range(50))
    assert values(module, "repair") | values(module, "test") == set(range(100, 112))
    assert [len(split) for split in loaded(tmp_path, validation=2).splits.values()] == [48, 2, 6, 6]
    assert loaded(tmp_path, seed=1).split_hash != module.split_hash == loaded(tmp_path / "imagenet").split_hash


def test_labels_follow_the_class_folders(tmp_path: Path) -> None:
    module = loaded(write_imagenet(tmp_path))
    for split in module.splits.values():
        number = (split.inputs[torch.arange(len(split))][:, 0, 0, 0] * 255).round()
        expected = torch.where(number < 100, number // 20, (number - 100) // 4).long()
        assert torch.equal(split.labels, expected)


def test_images_are_cut_out_as_torchvisions_preset_does(tmp_path: Path) -> None:
    write_photos(tmp_path / "train", {"a": 10, "b": 10}, side=48)
    write_photos(tmp_path / "val", {"a": 2, "b": 2}, side=48, seed=1)
    module = loaded(tmp_path, resize=40, size=32)
    steps = v2.Compose([v2.Resize(40), v2.CenterCrop(32), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    files = [path for listing in module.listings.values() for path, _ in listing]
    for made, item in zip(module.splits["train"].tensors().inputs, module.indices["train"].tolist(), strict=True):
        with Image.open(files[item]) as image:
            assert torch.allclose(made, steps(image).as_subclass(torch.Tensor), atol=1e-6)


def test_images_stay_in_their_files_unless_they_fit(tmp_path: Path) -> None:
    lazy, eager = loaded(write_imagenet(tmp_path), in_memory_gib=0), loaded(tmp_path)
    assert not any(isinstance(split.inputs, torch.Tensor) for split in lazy.splits.values())
    assert all(isinstance(split.inputs, torch.Tensor) for split in eager.splits.values())
    assert lazy.fingerprint == eager.fingerprint
    assert torch.equal(
        lazy.splits["test"].fetch(torch.tensor([3, 1])).inputs, eager.splits["test"].tensors().inputs[[3, 1]]
    )
    with pytest.raises(UsageError, match=r"raise dataset\.in_memory_gib"):
        lazy.splits["train"].tensors()


def test_the_fingerprint_follows_names_sizes_and_settings_wherever_the_folder_lies(tmp_path: Path) -> None:
    first = loaded(write_imagenet(tmp_path / "a"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert loaded(tmp_path / "b").fingerprint == first.fingerprint
    assert loaded(tmp_path / "b", resize=12).fingerprint != first.fingerprint
    file = tmp_path / "b" / "val" / "n01440764" / "000.png"
    Image.open(tmp_path / "b" / "val" / "n01443537" / "001.png").resize((30, 30)).save(file)
    assert loaded(tmp_path / "b").fingerprint != first.fingerprint


def test_what_is_missing_or_mixed_up_is_named(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match=r"imagenet/train does not exist.*dataset\.root=FOLDER or STUDY_DATA"):
            ImageNet(root=str(root)).check()
    write_imagenet(tmp_path)
    (tmp_path / "val" / "n01484850").rename(tmp_path / "val" / "n9")
    with pytest.raises(UsageError, match=r"dataset=imagenet: .*class folder n01484850, .*val has not"):
        ImageNet(root=str(tmp_path)).check()
    with pytest.raises(UsageError, match=r"dataset\.size=300: is cut out of .* dataset\.resize=256"):
        ImageNet(size=300)


def test_a_damaged_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    file = write_imagenet(tmp_path) / "val" / "n01440764" / "000.png"
    file.write_bytes(file.read_bytes()[:40])
    module = loaded(tmp_path, in_memory_gib=0)
    with pytest.raises(UsageError, match=f"{file} cannot be read as an image"):
        for name in ("repair", "test"):
            module.splits[name].fetch(torch.arange(6))
