"""The faulty model: trained once, cached, and shared by every job that needs it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from study.data.split import Batch, Batches, Split
from study.errors import UsageError
from study.problem.prediction import accuracy
from study.problem.recipe import Recipe
from study.runtime.best_state import BestState, state_of
from study.runtime.fit import Curves, Stage, fit
from study.runtime.hardware import Hardware
from study.runtime.randomness import forked, stream
from study.storage.checkpoint import load_checkpoint, not_finite, unfit
from study.storage.checksums import is_kept, seal
from study.storage.files import is_locked, locked, new_folder, remove_remains
from study.storage.models import load_state, save_model, save_state

CODE_VERSION = 1
"""Part of the cache key. Raise it when a change below makes the same recipe end at other weights."""
WEIGHTS, HISTORY = "faulty.safetensors", "history.safetensors"
CURVE = "faulty/validation_accuracy"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Faulty:
    """A trained model, and the one an epoch earlier (None under a user's checkpoint, or if none came before)."""

    model: nn.Module
    history: nn.Module | None


class FaultyTraining(Stage):
    """Trains a network by its recipe; keeps the epoch that is best on validation and the one before it.

    best, before: the states that are kept; `before` is None where the first epoch is the best; curve: the name under
    which the validation accuracy of each epoch is recorded.
    """

    def __init__(
        self, net: nn.Module, recipe: Recipe, train: Split, validation: Split, seed: int, curve: str = CURVE
    ) -> None:
        super().__init__()
        self.curve = curve
        self.net, self.recipe, self.validation = net, recipe, validation
        self.batches = train.batches(int(recipe.batch_size), stream(seed, "faulty", "batches"))
        self.draws = stream(seed, "faulty", "augmentation")
        self.max_epochs = int(recipe.epochs)
        self.best = BestState()
        self.before: dict[str, Tensor] | None = None
        self._previous: dict[str, Tensor] | None = None

    def train_dataloader(self) -> Batches:
        return self.batches

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.steps_taken += 1
        inputs = self.recipe.augmented(batch.inputs, self.draws)
        return functional.cross_entropy(self.net(inputs), batch.labels)

    def configure_optimizers(self) -> Any:
        return self.recipe.make_optimizer(self.net.parameters())

    def on_train_epoch_end(self) -> None:
        score = accuracy(self.net, self.validation)
        self.record({self.curve: score}, self.current_epoch)
        if self.best.offer(score, self.net):
            self.before = self._previous
        self._previous = state_of(self.net)
        if isinstance(self.recipe.stop_at, float) and score >= self.recipe.stop_at:
            self.trainer.should_stop = True


def checkpoint_fits(net: nn.Module, path: Path, setting: str = "faulty.checkpoint") -> dict[str, Tensor]:
    """The state of a user's checkpoint, which `setting` names.

    Raises UsageError, naming the first tensors, if `net` has others, or if some are not finite or of another kind.
    """
    expected = net.eval().state_dict()
    state = _unwrapped(load_checkpoint(path, setting), expected)
    differing = [f"{name} is missing" for name in expected if name not in state]
    reasons = {name: unfit(state[name], tensor) for name, tensor in expected.items() if name in state}
    differing += [f"{name} {reason}" for name, reason in reasons.items() if reason]
    differing += [f"{name} is unknown to the architecture" for name in state if name not in expected]
    if differing:
        more = f", and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise UsageError(f"{setting}={path} does not fit the architecture: {'; '.join(differing[:3])}{more}")
    for name, tensor in expected.items():
        if found := not_finite(state[name], tensor):
            raise UsageError(f"{setting}={path}: {name} holds {found}, so the model has no answers to repair")
    return state


@dataclass(frozen=True)
class FaultySource:
    """Where the faulty model comes from: training by a recipe, or a user's checkpoint.

    make_model: makes the classifier (normalise + `net`), newly initialised.
    """

    make_model: Callable[[], nn.Module]
    recipe: Recipe
    seed: int
    hardware: Hardware

    def load(self, folder: Path, train: Split, validation: Split) -> Faulty:
        """The checkpoint's model, which has no history; else that of a cache folder, trained first if it is not there.

        Of several processes one trains, the others wait. A damaged cache folder is set aside and trained anew.
        """
        if self.recipe.checkpoint is not None:
            return self._from_checkpoint(Path(self.recipe.checkpoint))
        lock = folder.with_suffix(".lock")
        if not folder.exists() and is_locked(lock):
            log.info("waiting for another job that trains the same faulty model")
        with locked(lock):
            remove_remains(folder)
            if not is_kept(folder):
                self._train(folder, train, validation)
        history = folder / HISTORY
        return Faulty(self._restored(folder / WEIGHTS), self._restored(history) if history.exists() else None)

    def _from_checkpoint(self, path: Path) -> Faulty:
        model = self.make_model()
        net = model.get_submodule("net")
        net.load_state_dict(checkpoint_fits(net, path))
        return Faulty(model.to(self.hardware.device).eval(), None)

    def _train(self, folder: Path, train: Split, validation: Split) -> None:
        if int(self.recipe.epochs):
            log.info("training the faulty model: at most %d epochs on %d inputs", int(self.recipe.epochs), len(train))
        with forked(self.seed, "faulty", "init"):
            model = self.make_model().to(self.hardware.device)
        training = FaultyTraining(model, self.recipe, train, validation, self.seed)
        curves, start = Curves(), time.perf_counter()
        with forked(self.seed, "faulty", "layers"):
            fit(training, self.hardware, curves, title="train the faulty model")
        training.best.restore(model)  # without an epoch the weights that the network comes with are the model
        fields: dict[str, Any] = {
            "seconds": time.perf_counter() - start,
            "validation_accuracy": training.best.score,
            "curve": curves.values.get(CURVE, []),
        }
        with new_folder(folder) as new:
            save_model(model.eval(), new, WEIGHTS)
            if training.before is not None:
                model.train().load_state_dict(training.before)
                save_state(model.eval().state_dict(), new / HISTORY)
            (new / "training.json").write_text(json.dumps(fields, indent=2))
            seal(new)
        if training.best.score is None:
            log.info("nothing is trained: the faulty model is the network with the weights that it comes with")
        else:
            log.info("trained in %.0f s: %.2f %% on validation", fields["seconds"], 100 * training.best.score)

    def _restored(self, path: Path) -> nn.Module:
        model = self.make_model()
        load_state(model, path)
        return model.to(self.hardware.device)


def _unwrapped(state: dict[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state without a prefix of all its keys (`module.`, `model.`) that the network has not."""
    prefix = next(iter(state)).partition(".")[0] + "."
    if set(state) & set(expected) or not all(name.startswith(prefix) for name in state):
        return state
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}
