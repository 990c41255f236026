"""The faulty model is trained once, whatever happens to the processes that need it."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import re
import shutil
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from study.errors import UsageError
from study.problem import faulty
from study.problem.faulty import Faulty, FaultySource, checkpoint_fits
from study.problem.prediction import accuracy
from study.problem.recipe import Recipe
from study.storage.checksums import CHECKSUMS
from study.storage.files import locked
from study.storage.models import weights_hash
from study.storage.space import full_disk
from tests.damages import DAMAGES
from tests.deaths import die, killed
from tests.problems import HARDWARE, build, digits_splits
from tests.processes import within


def trained(folder: Path, epochs: int = 4, augmentation: Literal["none", "crop"] = "crop", seed: int = 3) -> Faulty:
    """The faulty model of the cache `folder`: digits, an MLP with BatchNorm."""
    splits = digits_splits()
    recipe = Recipe(epochs=epochs, optimizer="adam", lr=2e-3, batch_size=64, augmentation=augmentation)
    make = lambda: build(batch_norm=True)  # noqa: E731
    return FaultySource(make, recipe, seed, HARDWARE).load(folder, splits["train"], splits["validation"])


def trained_in_a_process(folder: Path, told: Path, go: Event) -> None:
    """What another process does with the cache when it may; it writes what is logged, and the weights, to `told`."""
    go.wait(60)
    with told.open("w", buffering=1) as file:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=file, force=True)
        print("weights", weights_hash(trained(folder).model), file=file)


def history_of(result: Faulty) -> nn.Module:
    assert result.history is not None
    return result.history


def test_a_model_is_trained_once_and_read_from_then_on(tmp_path: Path) -> None:
    first = trained(tmp_path / "key")
    times = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "key").iterdir()}
    assert set(times) == {"faulty.safetensors", "model.json", "history.safetensors", "training.json", CHECKSUMS}
    second = trained(tmp_path / "key")
    assert {file.name: file.stat().st_mtime_ns for file in (tmp_path / "key").iterdir()} == times
    assert weights_hash(first.model) == weights_hash(second.model)
    assert weights_hash(history_of(first)) == weights_hash(history_of(second))
    assert not first.model.training and not history_of(first).training
    told = json.loads((tmp_path / "key" / "training.json").read_text())
    assert told["validation_accuracy"] == accuracy(first.model, digits_splits()["validation"]) > 0.5
    assert len(told["curve"]) == 4


def test_two_caches_hold_the_same_weights_whatever_the_global_state(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = trained(tmp_path / "a")
    torch.manual_seed(2)
    second = trained(tmp_path / "b")
    for name in ("faulty", "history"):
        one, other = ((tmp_path / cache / f"{name}.safetensors").read_bytes() for cache in "ab")
        assert one == other
    assert weights_hash(first.model) == weights_hash(second.model)
    assert weights_hash(trained(tmp_path / "c", seed=4).model) != weights_hash(first.model)


def test_the_best_epoch_on_validation_is_kept_and_the_one_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, states = iter([0.1, 0.3, 0.7, 0.2, 0.7]), []

    def scored(net: nn.Module, split: object) -> float:
        states.append(weights_hash(net))
        return next(scores)

    monkeypatch.setattr(faulty, "accuracy", scored)
    result = trained(tmp_path / "key", epochs=5)
    assert len(set(states)) == 5
    assert weights_hash(result.model) == states[2]
    assert weights_hash(history_of(result)) == states[1]


def test_a_single_epoch_has_no_history(tmp_path: Path) -> None:
    assert trained(tmp_path / "key", epochs=1).history is None


def test_nor_has_a_model_whose_first_epoch_is_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.7, 0.2, 0.7])
    monkeypatch.setattr(faulty, "accuracy", lambda *_: next(scores))
    assert trained(tmp_path / "key", epochs=3).history is None


def test_without_an_epoch_the_initial_weights_are_the_model(tmp_path: Path) -> None:
    result = trained(tmp_path / "a", epochs=0)
    assert result.history is None
    assert weights_hash(result.model) != weights_hash(trained(tmp_path / "b", epochs=1).model)
    assert weights_hash(result.model) == weights_hash(trained(tmp_path / "c", epochs=0).model)
    told = json.loads((tmp_path / "a" / "training.json").read_text())
    assert told["validation_accuracy"] is None  # nor is a pass over the split spent on it


def test_batch_norm_is_trained(tmp_path: Path) -> None:
    moved = [name for name, buffer in trained(tmp_path / "key", epochs=1).model.named_buffers() if buffer.any()]
    assert sum("running_mean" in name for name in moved) == 2


def test_of_two_processes_one_trains_and_the_other_waits(tmp_path: Path) -> None:
    """Forks of this one, which has imported what takes seconds; they begin while the cache is locked."""
    folder, told = tmp_path / "key", [tmp_path / name for name in ("one", "two")]
    fork = multiprocessing.get_context("fork")
    go = fork.Event()
    processes = [fork.Process(target=trained_in_a_process, args=(folder, file, go), daemon=True) for file in told]
    for process in processes:
        process.start()
    waiting = "waiting for another job that trains the same faulty model\n"
    with locked(folder.with_suffix(".lock")):
        go.set()
        assert within(60, lambda: all(file.exists() and file.read_text() == waiting for file in told))
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    output = "".join(file.read_text() for file in told)
    assert output.count("training the faulty model: at most 4 epochs on 800 inputs") == 1
    assert re.findall(r"weights (\w+)", output) == [weights_hash(trained(tmp_path / "other").model)] * 2


def test_after_a_kill_in_the_middle_the_next_process_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, epochs = tmp_path / "key", iter(range(1, 10))
    with monkeypatch.context() as patches:
        patches.setattr(faulty, "accuracy", lambda *_: 0.5 if next(epochs) < 3 else die())
        killed(lambda: trained(folder))
    assert not folder.exists()
    assert weights_hash(trained(folder).model) == weights_hash(trained(tmp_path / "other").model)
    assert sorted(os.listdir(tmp_path)) == ["key", "key.lock", "other", "other.lock"]


def test_after_a_kill_while_the_folder_is_written_the_next_process_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = weights_hash(trained(tmp_path / "other", epochs=1).model)
    for moment in ("save_state", "seal"):
        with monkeypatch.context() as patches:
            patches.setattr(faulty, moment, die)
            killed(lambda: trained(tmp_path / "key", epochs=2))
        left = [name for name in os.listdir(tmp_path) if name.startswith(".key.")]
        assert len(left) == 1 and not (tmp_path / "key").exists()
        assert weights_hash(trained(tmp_path / "key", epochs=1).model) == expected
        assert sorted(os.listdir(tmp_path)) == ["key", "key.lock", "other", "other.lock"]
        shutil.rmtree(tmp_path / "key")


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Messages of warnings alone: a test before may have set the package's logger to a lower level."""
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("name", ["faulty.safetensors", "history.safetensors", "model.json", "training.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_named_and_trained_anew(
    tmp_path: Path, name: str, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "key"
    first = trained(folder, epochs=2)
    damage(folder / name)
    with caplog.at_level("WARNING"):
        again = trained(folder, epochs=2)
    (warning,) = warnings_in(caplog)
    assert str(folder / name) in warning and "key.damaged" in warning
    assert weights_hash(again.model) == weights_hash(first.model)
    assert weights_hash(history_of(again)) == weights_hash(history_of(first))
    caplog.clear()
    trained(folder, epochs=2)
    assert not warnings_in(caplog)


def test_a_full_disk_names_the_folder_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patches:
        patches.setattr(faulty, "save_state", full)
        with pytest.raises(OSError) as raised:
            trained(tmp_path / "key", epochs=2)
    assert raised.value.filename == str(tmp_path / "key") and full_disk(raised.value)
    assert os.listdir(tmp_path) == ["key.lock"]
    assert trained(tmp_path / "key", epochs=2).history is not None


def test_a_folder_without_weights_is_trained_anew(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    (tmp_path / "key" / "training.json").write_text("half")
    trained(tmp_path / "key", epochs=1)
    assert json.loads((tmp_path / "key" / "training.json").read_text())["seconds"] > 0


@pytest.mark.parametrize("prefix", ["", "net."])
def test_a_checkpoint_of_the_network_or_of_the_subject_is_the_faulty_model(tmp_path: Path, prefix: str) -> None:
    source = build()
    save_file({prefix + name: tensor for name, tensor in source.net.state_dict().items()}, tmp_path / "a.safetensors")
    splits, recipe = digits_splits(), Recipe(checkpoint=str(tmp_path / "a.safetensors"))
    result = FaultySource(build, recipe, 0, HARDWARE).load(tmp_path / "key", splits["train"], splits["validation"])
    assert weights_hash(result.model) == weights_hash(source)
    assert result.history is None and not result.model.training and not (tmp_path / "key").exists()


def test_a_checkpoint_that_does_not_fit_names_the_first_tensors(tmp_path: Path) -> None:
    path, net = tmp_path / "a.safetensors", build().net
    state = net.state_dict()
    del state["layers.1.weight"]
    save_file(state | {"layers.3.bias": torch.zeros(5), "extra": torch.zeros(())}, path)
    with pytest.raises(UsageError) as refusal:
        checkpoint_fits(net, path)
    assert str(refusal.value) == (
        f"faulty.checkpoint={path} does not fit the architecture: layers.1.weight is missing; "
        "layers.3.bias is 5 in the file and 32 in the architecture; extra is unknown to the architecture"
    )
    save_file({"other": torch.zeros(2)}, path)
    with pytest.raises(UsageError, match=r"layers.1.weight is missing; .*; .*, and 4 more$"):
        checkpoint_fits(net, path)


WRONG: dict[str, tuple[str, Callable[[Tensor], Tensor], str]] = {
    "nan": ("layers.1.weight", lambda tensor: tensor / 0 * 0, "layers.1.weight holds NaN"),
    "infinite": ("layers.2.running_var", lambda tensor: tensor / 0, "layers.2.running_var holds infinity"),
    "too large": ("layers.1.bias", lambda tensor: tensor.double() + 1e300, "layers.1.bias holds infinity, as float32"),
    "integer": ("layers.1.weight", Tensor.int, "layers.1.weight is integer (int32) in the file and floating-point in"),
    "boolean": ("layers.1.bias", Tensor.bool, "layers.1.bias is boolean (bool) in the file and floating-point in"),
    "complex": ("layers.1.bias", Tensor.cfloat, "layers.1.bias is complex (complex64) in the file and floating-point"),
    "counter": (
        "layers.2.num_batches_tracked",
        Tensor.float,
        "layers.2.num_batches_tracked is floating-point (float32) in the file and integer in",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_checkpoint_whose_numbers_are_of_no_use_names_the_tensor(tmp_path: Path, case: str) -> None:
    name, change, told = WRONG[case]
    net, path = build(batch_norm=True).net, tmp_path / "a.safetensors"
    state = net.state_dict()
    save_file(state | {name: change(state[name])}, path)
    with pytest.raises(UsageError) as refusal:
        checkpoint_fits(net, path)
    assert told in str(refusal.value) and f"faulty.checkpoint={path}" in str(refusal.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_checkpoint_of_another_precision_fits(tmp_path: Path, dtype: torch.dtype) -> None:
    net = build(batch_norm=True).net
    state = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in net.state_dict().items()
    }
    save_file(state, tmp_path / "a.safetensors")
    assert checkpoint_fits(net, tmp_path / "a.safetensors").keys() == state.keys()
