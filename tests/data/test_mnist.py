"""IDX files in every layout, split as the study does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import to_tensor

from study.data.mnist import MNIST, FashionMNIST
from study.errors import UsageError
from tests.data.files import idx, write_mnist
from tests.data.servers import Server, serving


def values(module: MNIST, name: str) -> set[int]:
    """The values of a split's (uniform) images."""
    return set((module.splits[name].tensors().inputs[:, 0, 0, 0] * 255).round().int().tolist())


def loaded(root: Path, seed: int = 0, limit: int | None = None) -> MNIST:
    module = MNIST(root=str(root), limit=limit)
    module.load(seed)
    return module


@pytest.mark.parametrize("place", ["MNIST/raw", "raw", "."])
@pytest.mark.parametrize("packed", [False, True])
def test_files_are_found_in_each_layout_and_read_alike(tmp_path: Path, place: str, packed: bool) -> None:
    reference = loaded(write_mnist(tmp_path / "reference"))
    write_mnist(tmp_path / "other" / place, packed=packed)
    module = loaded(tmp_path / "other")
    assert (module.fingerprint, module.split_hash) == (reference.fingerprint, reference.split_hash)
    for name, split in module.splits.items():
        assert torch.equal(split.tensors().inputs, reference.splits[name].tensors().inputs)


def test_repair_and_test_are_halves_of_the_official_test_set(tmp_path: Path) -> None:
    module = loaded(write_mnist(tmp_path))
    assert {name: len(split) for name, split in module.splits.items()} == {
        "train": 54,
        "validation": 6,
        "repair": 10,
        "test": 10,
    }
    assert values(module, "train") | values(module, "validation") == set(range(60))
    assert values(module, "repair") | values(module, "test") == set(range(100, 120))


def test_inputs_labels_and_indices_belong_together(tmp_path: Path) -> None:
    module = loaded(write_mnist(tmp_path))
    for name, split in module.splits.items():
        pixels = split.tensors().inputs.flatten(1)
        assert pixels.dtype == torch.float32 and split.labels.dtype == torch.int64
        value = (pixels[:, 0] * 255).round().long()
        assert torch.equal(pixels, pixels[:, :1].expand_as(pixels))
        assert torch.equal(value % 10, split.labels)
        assert torch.equal(torch.where(value < 100, value, value - 40), module.indices[name])


def test_scaling_is_the_one_of_torchvision(tmp_path: Path) -> None:
    module = loaded(write_mnist(tmp_path))
    inputs = module.splits["train"].tensors().inputs[:, 0, 0, 0]
    expected = to_tensor(np.asarray(module.indices["train"], dtype=np.uint8)[:, None, None]).flatten()
    assert torch.equal(inputs, expected)


def test_a_limited_split_is_a_part_of_the_whole_one(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    whole, limited = loaded(tmp_path), loaded(tmp_path, limit=10)
    assert [len(split) for split in limited.splits.values()] == [10, 6, 10, 10]
    for name in whole.splits:
        assert values(limited, name) <= values(whole, name)
    assert limited.fingerprint != whole.fingerprint
    assert limited.split_hash != whole.split_hash


def test_one_pixel_changes_the_fingerprint(tmp_path: Path) -> None:
    before = loaded(write_mnist(tmp_path))
    path = tmp_path / "t10k-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    after = loaded(tmp_path)
    assert after.fingerprint != before.fingerprint
    assert after.split_hash == before.split_hash


def test_one_label_changes_the_fingerprint(tmp_path: Path) -> None:
    before = loaded(write_mnist(tmp_path))
    labels = np.arange(60, dtype=np.uint8) % 10
    labels[3] = 4
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    assert loaded(tmp_path).fingerprint != before.fingerprint


def test_another_seed_is_another_split_of_the_same_data(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    zero, one = loaded(tmp_path, 0), loaded(tmp_path, 1)
    assert zero.fingerprint == one.fingerprint
    assert zero.split_hash != one.split_hash


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda content: content[:-1], "is damaged"),
        (lambda content: content + b"\0", "is damaged"),
        (lambda content: content[:7], "is no IDX file"),
        (lambda content: b"<!DOCTYPE html><html></html>", "is no IDX file"),
    ],
)
def test_damaged_file_is_named(tmp_path: Path, damage: Callable[[bytes], bytes], sentence: str) -> None:
    path = write_mnist(tmp_path) / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UsageError, match=f"{path} {sentence}"):
        loaded(tmp_path)


def test_truncated_gzip_is_named(tmp_path: Path) -> None:
    path = write_mnist(tmp_path, packed=True) / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match=f"{path} cannot be read"):
        loaded(tmp_path)


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds images of 32x32 pixels"):
        loaded(write_mnist(tmp_path, size=32))


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = write_mnist(tmp_path) / "t10k-labels-idx1-ubyte"
    path.write_bytes(idx(np.arange(20, dtype=np.uint8)))
    with pytest.raises(UsageError, match="go up to 19"):
        loaded(tmp_path)
    path.write_bytes(idx(np.zeros(19, dtype=np.uint8)))
    with pytest.raises(UsageError, match="20 images, and its label file 19 labels"):
        loaded(tmp_path)


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(np.zeros((1, 28, 28), dtype=np.uint8)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(1, dtype=np.uint8)))
    with pytest.raises(UsageError, match="holds 1 images; to be split it takes at least 10"):
        loaded(tmp_path)


def test_missing_data_says_how_to_get_it(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match=r"dataset\.root=FOLDER.*STUDY_DATA.*dataset\.download=true") as refusal:
            MNIST(root=str(root)).check()
        assert str(root) in str(refusal.value)
    MNIST(root=str(tmp_path), download=True).check()


def offered(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the four files, which the server has in place of those that torchvision knows."""
    files = sorted(write_mnist(folder, packed=True).iterdir())
    monkeypatch.setattr(MNIST.archive, "mirrors", [f"{server.url}gone/", server.url])
    monkeypatch.setattr(
        MNIST.archive, "resources", [(file.name, server.holds(file.name, file.read_bytes())) for file in files]
    )
    return [file.name for file in files]


def test_a_download_that_breaks_goes_on_with_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = loaded(write_mnist(tmp_path / "reference")).fingerprint
    with serving() as server:
        names = offered(server, tmp_path / "theirs", monkeypatch)
        server.moods[names[2]] = ["cut"]
        module = MNIST(root=str(tmp_path / "mine"), download=True)
        with pytest.raises(UsageError, match=rf"{names[2]} could not be fetched .*put it into .*MNIST/raw"):
            module.load(0)
        module.load(0)
        assert [name for name in server.asked if "gone" not in name] == [*names[:3], *names[2:]]
    assert module.fingerprint == reference


def test_what_an_interrupted_download_of_others_left_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        names = offered(server, tmp_path / "theirs", monkeypatch)
        half = tmp_path / "MNIST" / "raw" / names[0]
        half.parent.mkdir(parents=True)
        half.write_bytes(server.files[names[0]][:50])
        module = MNIST(root=str(tmp_path), download=True)
        with pytest.raises(UsageError, match=f"{half} cannot be read .*; delete it and get it again"):
            module.load(0)
        half.unlink()
        module.load(0)
    assert len(module.splits["test"]) == 10


def test_present_files_are_never_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MNIST.archive, "mirrors", ["http://127.0.0.1:9/"])
    module = MNIST(root=str(write_mnist(tmp_path)), download=True)
    module.load(0)
    assert len(module.splits["test"]) == 10


def test_data_is_found_in_the_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "MNIST" / "raw")
    monkeypatch.setenv("STUDY_DATA", str(tmp_path))
    MNIST().check()


def test_installed_files_serve_only_where_no_root_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "empty"))
    monkeypatch.setattr(FashionMNIST, "installed", write_mnist(tmp_path / "system", packed=True))
    module = FashionMNIST()
    module.load(0)
    assert len(module.splits["train"]) == 54
    assert module.class_names[9] == "Ankle boot"
    with pytest.raises(UsageError, match="elsewhere does not exist"):
        FashionMNIST(root=str(tmp_path / "elsewhere")).check()


def test_the_real_mnist() -> None:
    module = MNIST()
    try:
        module.check()
    except UsageError:
        pytest.skip("needs MNIST in STUDY_DATA")
    module.load(0)
    assert [len(split) for split in module.splits.values()] == [54_000, 6_000, 5_000, 5_000]
    labels = torch.cat([module.splits[name].labels for name in ("train", "validation")])
    assert labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert module.splits["train"].tensors().inputs.mean().item() == pytest.approx(0.1307, abs=1e-3)
