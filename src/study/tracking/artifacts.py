"""What a job leaves behind beside its numbers: configuration, environment, predictions, pictures, weights."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow
import torch
import yaml
from pyarrow import parquet
from torch import Tensor

from study.data.module import DataModule
from study.storage.files import new_folder
from study.tracking.pictures import confusion, gallery

PACKAGES = ("study", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "mlflow", "numpy")


@dataclass(frozen=True)
class Evidence:
    """What the artifacts of a job are made from.

    before, after: logits [N, C] of the faulty and the measured model on the test split, None where nothing was run;
    repair_folder: where the repaired model is kept, None without one; keys: of the job, its repair and faulty model.
    """

    data: DataModule
    before: Tensor | None
    after: Tensor | None
    repair_folder: Path | None
    config: Mapping[str, Any]
    overrides: list[str]
    keys: Mapping[str, str]


def write_artifacts(folder: Path, evidence: Evidence) -> None:
    """Fill a job's artifact folder; it takes its name when it is complete."""
    with new_folder(folder) as new:
        (new / "config.yaml").write_text(yaml.safe_dump(dict(evidence.config), sort_keys=False))
        (new / "overrides.yaml").write_text(yaml.safe_dump(evidence.overrides))
        (new / "environment.json").write_text(json.dumps(environment(), indent=2))
        keys = {**evidence.keys, "split": evidence.data.split_hash, "data": evidence.data.fingerprint}
        (new / "keys.json").write_text(json.dumps(keys, indent=2))
        if evidence.repair_folder is not None:
            _copy_repair(evidence.repair_folder, new)
        if evidence.before is not None:
            after = evidence.before if evidence.after is None else evidence.after
            _write_predictions(new / "predictions.parquet", evidence.data, evidence.before, after)
            _draw(new, evidence.data, evidence.before.argmax(1).cpu(), after.argmax(1).cpu())


def environment() -> dict[str, Any]:
    """The machine and the versions of what a result depends on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed as a package"
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "packages": versions,
        "git_commit": git_commit(),
    }


def git_commit() -> str | None:
    """Commit of the repository that this code runs from, None where it is none."""
    try:
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def _copy_repair(source: Path, folder: Path) -> None:
    """The repaired model, and the pictures that the approach drew."""
    (folder / "repaired").mkdir()
    for file in source.glob("model.*"):
        shutil.copyfile(file, folder / "repaired" / file.name)
    for picture in source.glob("*.png"):
        shutil.copyfile(picture, folder / picture.name)


def _write_predictions(path: Path, data: DataModule, before: Tensor, after: Tensor) -> None:
    """One row per test input: its place in the data set, label, group, and both models' answers and confidences."""
    test = data.splits["test"]
    columns = {
        "item": torch.as_tensor(data.indices["test"]),
        "label": test.labels,
        "before": before.argmax(1),
        "after": after.argmax(1),
        "before_confidence": before.softmax(1).amax(1).float(),
        "after_confidence": after.softmax(1).amax(1).float(),
    }
    if test.groups is not None:
        columns["group"] = test.groups.long()
    parquet.write_table(pyarrow.table({name: _column(values) for name, values in columns.items()}), path)


def _column(values: Tensor) -> pyarrow.Array:
    """A tensor [N] of int64 or float32, as it lies in memory: pyarrow's conversion would import pandas, for 0.4 s."""
    kind = {torch.int64: pyarrow.int64(), torch.float32: pyarrow.float32()}[values.dtype]
    return pyarrow.Array.from_buffers(kind, len(values), [None, pyarrow.py_buffer(values.cpu().contiguous().numpy())])


def _draw(folder: Path, data: DataModule, before: Tensor, after: Tensor) -> None:
    """Confusion matrices, and for images a gallery of the inputs whose answer became right or wrong."""
    test = data.splits["test"]
    labels, names = test.labels.cpu(), data.class_names
    (folder / "confusion.png").write_bytes(confusion(before, after, labels, names))
    if data.kind != "image":
        return
    changed: dict[Literal["fixed", "broken"], Tensor] = {
        "fixed": (before != labels) & (after == labels),
        "broken": (before == labels) & (after != labels),
    }
    for which, chosen in changed.items():
        places = chosen.nonzero().flatten()
        if len(places):
            inputs = test.fetch(places).inputs.cpu()
            picture = gallery(inputs, labels[places], before[places], after[places], names, which=which)
            (folder / f"{which}.png").write_bytes(picture)
