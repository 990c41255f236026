"""From what a finished job left in its folder back to what it repaired."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from torch import nn

from study.config.instantiate import made, make_classifier, resolved_architecture
from study.config.trust import check_homes, check_names
from study.data.example import example_inputs
from study.data.module import DataModule
from study.errors import UsageError
from study.problem.faulty import WEIGHTS, checkpoint_fits
from study.storage.checksums import digest_of
from study.storage.models import load_state
from study.tracking.result import ARTIFACTS, Result

NO_FOLDERS = OmegaConf.create({"runtime": {"config_sources": [], "choices": {}}})
"""Hydra's part of a configuration that comes from no folder of the user's."""


def subject_of(folder: Path, trust: Sequence[str] = ()) -> tuple[DataModule, nn.Module]:
    """The data of a finished job, loaded, and its faulty model, in eval mode on the CPU.

    Relative paths in its configuration are seen from the folder in which the job was started, while that is there.

    Args:
        folder: the job's.
        trust: packages or names outside this one whose code its configuration may name.

    Raises:
        UsageError: The data or the faulty model are gone or have changed, or the configuration names other code.
    """
    result, values = Result.read(folder), _values(folder, trust)
    folder = folder.resolve()
    with _seen_from(_started_in(folder)):
        data = made(values, "dataset", DataModule)  # type: ignore[type-abstract]
        data.adopt(values["architecture"])
        data.load(values["subject"]["seed"])
        if (data.fingerprint, data.split_hash) != (result.tags.get("data"), result.tags.get("split")):
            raise UsageError(f"{folder}: the data are not those of the job any more")
        example = example_inputs(data.kind, data.input_shape, data.bounds, 2)
        architecture = resolved_architecture(values["architecture"], data)
        model = partial(make_classifier, architecture, data.mean, data.std, example)().eval()
        return data, _faulty(folder, result, values["faulty"]["checkpoint"], model)


@contextmanager
def _seen_from(place: Path) -> Iterator[None]:
    """Relative paths are seen from `place`, but for those in the environment."""
    for name in ("STUDY_DATA", "STUDY_HOME"):
        if given := os.environ.get(name):
            os.environ[name] = str(Path(given).expanduser().absolute())
    with chdir(place):
        yield


def _started_in(folder: Path) -> Path:
    """The folder in which the command of a job was started, as Hydra notes it; the current one if that is gone."""
    noted = folder / ".hydra" / "hydra.yaml"
    if noted.is_file():
        started = Path(yaml.safe_load(noted.read_text())["hydra"]["runtime"]["cwd"])
        if started.is_dir():
            return started
    return Path.cwd()


def _values(folder: Path, trust: Sequence[str]) -> dict[str, Any]:
    """The configuration of a job, each name in it looked at."""
    path = folder / ARTIFACTS / "config.yaml"
    if not path.is_file():
        raise UsageError(f"{folder}: its configuration is gone ({ARTIFACTS}/config.yaml)")
    values: dict[str, Any] = yaml.safe_load(path.read_text()) | {"trust": list(trust)}
    check_names(values, NO_FOLDERS)
    check_homes(values, NO_FOLDERS)
    return values


def _faulty(folder: Path, result: Result, checkpoint: str | None, model: nn.Module) -> nn.Module:
    """`model` with the weights from the cache, or from the user's checkpoint, that the job started from."""
    origin = result.origin
    if origin is None:
        raise UsageError(f"{folder}: does not say what it started from")
    if checkpoint is not None:
        path = Path(checkpoint)
        if not path.is_file() or digest_of(path) != origin.checkpoint:
            raise UsageError(f"{folder}: {path} is not the checkpoint of the job any more")
        model.get_submodule("net").load_state_dict(checkpoint_fits(model.get_submodule("net"), path))
        return model
    path = folder / origin.folder / WEIGHTS
    if not path.is_file():
        raise UsageError(f"{folder}: its faulty model is gone ({path if origin.folder else 'it was not kept'})")
    load_state(model, path)
    return model
