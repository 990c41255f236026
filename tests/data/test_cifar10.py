"""CIFAR-10 in its batch files, whoever wrote them, and in folders of images."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from study.data import cifar10
from study.data.cifar10 import CIFAR10, CLASSES
from study.data.download import Remote
from study.errors import UsageError
from tests.data.servers import serving

NAMES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
EACH = 20


def rows(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The images of a batch [20, 3072]: noise, the first value of each image is its number among all."""
    drawn = np.random.default_rng(number).integers(0, 256, (EACH, 3072), dtype=np.uint8)
    drawn[:, 0] = EACH * number + np.arange(EACH)
    return drawn


def write_batches(folder: Path, protocol: int = 4, key: Callable[[str], Any] = str) -> Path:
    """100 training and 20 test images, the i-th of a batch with the label i % 10."""
    home = folder / "cifar-10-batches-py"
    home.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        labels = [place % 10 for place in range(EACH)]
        content = {key("data"): rows(number), key("labels"): labels, key("filenames"): ["x.png"] * EACH}
        (home / name).write_bytes(pickle.dumps(content, protocol))
    return folder


def write_folders(folder: Path) -> Path:
    """The same images in folders, named by their numbers."""
    for number, name in enumerate(NAMES):
        part = "test" if name == "test_batch" else "train"
        for place, row in enumerate(rows(number)):
            home = folder / "cifar10" / part / CLASSES[place % 10]
            home.mkdir(parents=True, exist_ok=True)
            pixels = row.reshape(3, 32, 32).transpose(1, 2, 0)
            Image.fromarray(pixels).save(home / f"{EACH * number + place:05}.png")
    return folder


def loaded(root: Path, seed: int = 0, **arguments: Any) -> CIFAR10:
    module = CIFAR10(root=str(root), **arguments)
    module.load(seed)
    return module


def numbers(module: CIFAR10, name: str) -> set[int]:
    return set((module.splits[name].tensors().inputs[:, 0, 0, 0] * 255).round().int().tolist())


def test_validation_is_a_tenth_of_train_and_the_test_set_is_halved(tmp_path: Path) -> None:
    module = loaded(write_batches(tmp_path))
    assert [len(split) for split in module.splits.values()] == [90, 10, 10, 10]
    assert numbers(module, "train") | numbers(module, "validation") == set(range(100))
    assert numbers(module, "repair") | numbers(module, "test") == set(range(100, 120))


def test_pixels_and_labels_are_those_of_the_file(tmp_path: Path) -> None:
    module = loaded(write_batches(tmp_path))
    everything = np.concatenate([rows(number) for number in range(6)])
    for name, split in module.splits.items():
        expected = everything[module.indices[name]].reshape(-1, 3, 32, 32)
        assert torch.equal((split.tensors().inputs * 255).round().byte(), torch.from_numpy(expected))
        assert torch.equal(split.labels, module.indices[name] % EACH % 10)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("key", [str, str.encode], ids=["text", "bytes"])
def test_a_copy_is_read_however_it_was_pickled(tmp_path: Path, protocol: int, key: Callable[[str], Any]) -> None:
    reference = loaded(write_batches(tmp_path / "reference"))
    module = loaded(write_batches(tmp_path / "other", protocol, key))
    assert (module.fingerprint, module.split_hash) == (reference.fingerprint, reference.split_hash)


def test_python_2_wrote_the_original(tmp_path: Path) -> None:
    """Byte texts and NumPy's old name: opcode by opcode as in the authors' archive."""
    home = write_batches(tmp_path) / "cifar-10-batches-py"
    data = rows(0).tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR(I1\n(I20\nI3072\ntcnumpy\ndtype\n"
        b"(U\x02u1I0\nI1\ntR(I3\nU\x01|NNNI-1\nI-1\nI0\ntbI00\nT" + len(data).to_bytes(4, "little") + data + b"tb"
    )
    labels = b"(" + b"".join(b"K" + bytes([place % 10]) for place in range(EACH)) + b"l"
    (home / "data_batch_1").write_bytes(b"\x80\x02}(U\x04data" + array + b"U\x06labels" + labels + b"u.")
    assert loaded(tmp_path).fingerprint == loaded(write_batches(tmp_path / "reference")).fingerprint


def test_folders_of_images_are_the_same_data_set(tmp_path: Path) -> None:
    batches = loaded(write_batches(tmp_path / "batches"))
    folders = loaded(write_folders(tmp_path / "folders"))
    assert (folders.fingerprint, folders.split_hash) == (batches.fingerprint, batches.split_hash)
    assert loaded(tmp_path / "folders" / "cifar10").fingerprint == batches.fingerprint


class Bomb:
    """Leaves a trace if it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_file_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    write_batches(tmp_path)
    trace = tmp_path / "trace"
    content = {"data": rows(2), "labels": [0] * EACH, "more": Bomb(trace)}
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(pickle.dumps(content))
    with pytest.raises(UsageError, match=r"data_batch_3 cannot be read .*mkdir.*arrays, lists and texts"):
        loaded(tmp_path)
    assert not trace.exists()


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda file: file.write_bytes(file.read_bytes()[:-500]), "cannot be read as a batch"),
    "a page": (lambda file: file.write_bytes(b"<!DOCTYPE html>"), "cannot be read as a batch"),
    "empty": (lambda file: file.write_bytes(b""), "cannot be read as a batch"),
    "a list": (lambda file: file.write_bytes(pickle.dumps([1, 2])), "it holds no arrays data and labels"),
    "meta": (lambda file: file.write_bytes(pickle.dumps({"label_names": ["a"]})), "it holds no arrays data and labels"),
    "labels": (lambda file: rewrite(file, labels=[0] * 19), "holds 20 images and 19 labels"),
    "range": (lambda file: rewrite(file, labels=[10] * 20), "labels are numbers from 0 to 9"),
    "floats": (lambda file: rewrite(file, data=np.zeros((20, 3072))), "data is float64 of shape 20x3072"),
    "shape": (lambda file: rewrite(file, data=np.zeros((20, 784), np.uint8)), "data is uint8 of shape 20x784"),
    "twice": (lambda file: file.write_bytes((file.parent / "test_batch").read_bytes()), "test_batch hold the same"),
}


def rewrite(file: Path, **changes: Any) -> None:
    file.write_bytes(pickle.dumps({"data": rows(1), "labels": [0] * EACH} | changes))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    file = write_batches(tmp_path) / "cifar-10-batches-py" / "data_batch_2"
    change, sentence = DAMAGES[damage]
    change(file)
    with pytest.raises(UsageError, match=sentence) as refusal:
        loaded(tmp_path)
    assert str(file) in str(refusal.value) and "\n" not in str(refusal.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match=r"dataset\.root=FOLDER.*STUDY_DATA.*dataset\.download=true"):
            CIFAR10(root=str(root)).check()
    write_batches(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(UsageError, match="lacks cifar-10-batches-py/data_batch_4 and holds other batch files"):
        CIFAR10(root=str(tmp_path)).check()
    with pytest.raises(UsageError, match="lacks cifar-10-batches-py/data_batch_4"):
        loaded(tmp_path, download=True)


def test_folders_of_another_set_are_refused(tmp_path: Path) -> None:
    write_folders(tmp_path)
    Image.new("RGB", (96, 96)).save(tmp_path / "cifar10" / "train" / "bird" / "00000.png")
    with pytest.raises(UsageError, match="96x96"):
        loaded(tmp_path)
    (tmp_path / "cifar10" / "test" / "frog").rename(tmp_path / "cifar10" / "test" / "toad")
    with pytest.raises(UsageError, match=r"cifar10/test holds no folder frog"):
        CIFAR10(root=str(tmp_path)).check()


def test_a_download_is_whole_or_leaves_nothing_and_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.add(write_batches(tmp_path / "theirs") / "cifar-10-batches-py", "cifar-10-batches-py")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / cifar10.ARCHIVE).write_bytes(content.getvalue()[:999])  # what an interrupted download of others left
    with serving() as server:
        md5 = server.holds(cifar10.ARCHIVE, content.getvalue(), "cut", "wrong", "missing")
        monkeypatch.setattr(cifar10, "REMOTE", Remote((f"{server.url}{cifar10.ARCHIVE}",), md5))
        for reason in ("the connection ended", "its MD5 is", "HTTP Error 404"):
            with pytest.raises(UsageError, match=rf"could not be fetched \({reason}.*get it by hand and unpack it in"):
                loaded(mine, download=True)
            assert not (mine / "cifar-10-batches-py").exists()
        first, second = loaded(mine, download=True), loaded(mine, download=True)
        assert len(server.asked) == 4
    assert first.fingerprint == second.fingerprint == loaded(tmp_path / "theirs").fingerprint
    assert sorted(path.name for path in (mine / "cifar-10-batches-py").iterdir()) == sorted(NAMES)


def test_the_real_cifar10() -> None:
    module = CIFAR10(limit=1000)
    try:
        module.check()
    except UsageError:
        pytest.skip("needs CIFAR-10 in STUDY_DATA")
    module.load(0)
    assert module.sizes == {"train": 50_000, "test": 10_000}
    assert [len(split) for split in module.splits.values()] == [1000] * 4
    inputs = module.splits["train"].tensors().inputs
    assert module.mean is not None and module.std is not None
    assert torch.allclose(inputs.mean((0, 2, 3)), torch.tensor(module.mean), atol=0.02)
    assert torch.allclose(inputs.std((0, 2, 3)), torch.tensor(module.std), atol=0.02)
