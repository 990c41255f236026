"""The faulty model: trained once, cached, and shared by every job that needs it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch, Batches, Split
from study.errors import UsageError
from study.problem.prediction import accuracy
from study.problem.recipe import Recipe
from study.runtime.fit import Curves, Hardware, fit
from study.runtime.randomness import forked, stream
from study.storage.files import is_locked, locked, new_folder
from study.storage.models import load_checkpoint, save_state

CODE_VERSION = 1
"""Part of the cache key. Raise it when a change below makes the same recipe end at other weights."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Faulty:
    """A trained model, and the one an epoch earlier (None under a user's checkpoint, or if none came before)."""

    model: nn.Module
    history: nn.Module | None


class Training(pl.LightningModule):
    """Trains a network by its recipe; keeps the epoch that is best on validation and the one before it."""

    def __init__(self, net: nn.Module, recipe: Recipe, train: Split, validation: Split, seed: int) -> None:
        super().__init__()
        self.net = net
        self.recipe = recipe
        self.splits = {"train": train, "validation": validation}
        self.draws = stream(seed, "faulty", "augmentation")
        self.best = -1.0
        self.kept: dict[str, Tensor] = {}
        self.kept_before: dict[str, Tensor] | None = None
        self._previous: dict[str, Tensor] | None = None

    def on_fit_start(self) -> None:
        """Lightning leaves the modes as they are."""
        self.train()

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Splits deliver batches where the model is."""
        return batch

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs = self.recipe.augmented(batch.inputs, self.draws)
        return functional.cross_entropy(self.net(inputs), batch.labels)

    def configure_optimizers(self) -> Any:
        return self.recipe.make_optimizer(self.net.parameters())

    def on_train_epoch_end(self) -> None:
        score = accuracy(self.net, self.splits["validation"])
        if self.logger is not None:
            self.logger.log_metrics({"faulty/validation_accuracy": score}, self.current_epoch)
        state = {name: tensor.clone() for name, tensor in self.net.state_dict().items()}
        if score > self.best:
            self.best, self.kept, self.kept_before = score, state, self._previous
        self._previous = state
        if isinstance(self.recipe.stop_at, float) and score >= self.recipe.stop_at:
            self.trainer.should_stop = True


def checkpoint_fits(net: nn.Module, path: Path) -> dict[str, Tensor]:
    """The state of a user's checkpoint; raises UsageError, naming the first tensors that differ, if `net` differs."""
    state, wanted = load_checkpoint(path), net.state_dict()
    if not set(state) & set(wanted) and all(name.startswith("net.") for name in state):
        state = {name.removeprefix("net."): tensor for name, tensor in state.items()}
    differing = [f"{name} is missing" for name in wanted if name not in state]
    differing += [
        f"{name} is {_shape(state[name])} in the file and {_shape(tensor)} in the architecture"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    differing += [f"{name} is unknown to the architecture" for name in state if name not in wanted]
    if differing:
        more = f", and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise UsageError(f"faulty.checkpoint={path} does not fit the architecture: {'; '.join(differing[:3])}{more}")
    return state


def load_or_train(
    folder: Path,
    build: Callable[[], nn.Module],
    recipe: Recipe,
    train: Split,
    validation: Split,
    seed: int,
    hardware: Hardware,
) -> Faulty:
    """The faulty model of a cache folder, trained first if it is not there.

    `build` makes the subject (normalise + `net`), newly initialised. Of several processes one trains, the others wait.
    """
    lock = folder.with_suffix(".lock")
    if not (folder / "faulty.safetensors").exists() and is_locked(lock):
        log.info("waiting for another job that trains the same faulty model")
    with locked(lock):
        if not (folder / "faulty.safetensors").exists():
            _train(folder, build, recipe, train, validation, seed, hardware)
    history = _restored(build, folder / "history.safetensors", hardware)
    model = _restored(build, folder / "faulty.safetensors", hardware)
    assert model is not None
    return Faulty(model, history)


def from_checkpoint(build: Callable[[], nn.Module], path: Path, hardware: Hardware) -> Faulty:
    """The faulty model that a user's checkpoint holds; it has no history."""
    model = build()
    net = model.get_submodule("net")
    net.load_state_dict(checkpoint_fits(net, path))
    return Faulty(model.to(hardware.device).eval(), None)


def _train(
    folder: Path,
    build: Callable[[], nn.Module],
    recipe: Recipe,
    train: Split,
    validation: Split,
    seed: int,
    hardware: Hardware,
) -> None:
    epochs = int(recipe.epochs)
    log.info("training the faulty model: at most %d epochs on %d inputs", epochs, len(train))
    with forked(seed, "faulty", "init"):
        net = build().to(hardware.device)
    training = Training(net, recipe, train, validation, seed)
    curves, start = Curves(), time.perf_counter()
    with forked(seed, "faulty", "layers"):
        loader: Batches = train.batches(int(recipe.batch_size), stream(seed, "faulty", "batches"))
        fit(training, hardware, loader=loader, curves=curves, epochs=epochs)
    if not training.kept:  # no epoch: the initial weights are the model
        training.kept, training.best = net.state_dict(), accuracy(net, validation)
    told = {
        "seconds": time.perf_counter() - start,
        "validation_accuracy": training.best,
        "curve": curves.values.get("faulty/validation_accuracy", []),
    }
    with new_folder(folder) as new:
        save_state(training.kept, new / "faulty.safetensors")
        if training.kept_before is not None:
            save_state(training.kept_before, new / "history.safetensors")
        (new / "training.json").write_text(json.dumps(told, indent=2))
    log.info("trained in %.0f s: %.2f %% on validation", told["seconds"], 100 * training.best)


def _restored(build: Callable[[], nn.Module], path: Path, hardware: Hardware) -> nn.Module | None:
    if not path.exists():
        return None
    model = build()
    model.load_state_dict(load_file(path))
    return model.to(hardware.device).eval()


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
