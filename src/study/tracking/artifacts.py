"""What a job leaves behind beside its numbers: configuration, environment, predictions, pictures, weights."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow
import torch
import yaml
from pyarrow import parquet
from torch import Tensor

from study.data.module import DataModule
from study.storage.checksums import checksums, seal
from study.storage.files import linked, new_folder
from study.storage.models import INPUTS, MODEL_FILES, WEIGHTS, save_model
from study.storage.paths import from_here
from study.tracking.finding import Finding
from study.tracking.pictures import pictures_of
from study.tracking.result import ARTIFACTS, REPAIRED
from study.tracking.tables import class_table, layer_table, pair_table

PACKAGES = (
    "repair-study",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "mlflow",
    "numpy",
)


def write_artifacts(
    folder: Path, data: DataModule, finding: Finding, papers: Mapping[str, Any], repair: Path, *, stored: bool
) -> None:
    """Fill a job's artifact folder; it takes its name when it is complete.

    Args:
        papers: values to write down, by the name of a .yaml or .json file: the configuration, the keys.
        repair: folder of the repair with the pictures that the approach drew; it may be missing.
        stored: whether the measured model lies there already; it then gets a second name, not a second copy.
    """
    with new_folder(folder) as new:
        for name, values in {**papers, "environment.json": environment()}.items():
            plain = json.dumps(values, indent=2) if name.endswith(".json") else yaml.safe_dump(values, sort_keys=False)
            (new / name).write_text(plain)
        if finding.model is not None:
            (new / REPAIRED).mkdir()
            if stored:
                for name in MODEL_FILES:
                    linked(repair / name, new / REPAIRED / name)
            else:
                save_model(finding.model, new / REPAIRED)
            (new / REPAIRED / INPUTS).write_text(json.dumps(_inputs(data), indent=2))
            seal(new / REPAIRED, checksums(repair) if stored else {})
            for picture in (path for path in repair.glob("*.png") if not path.is_symlink()):
                linked(picture, new / picture.name)
        if finding.layers:
            (new / "layers.csv").write_text(layer_table(finding.layers))
        if finding.before is not None and finding.after is not None:
            _write_predictions(new / "predictions.parquet", data, finding.before, finding.after)
            old, after = finding.before.argmax(1).cpu(), finding.after.argmax(1).cpu()
            for name, table in {"classes": class_table, "failing_pairs": pair_table}.items():
                text = table(old, after, data.splits["test"].labels.cpu(), data.class_names)
                (new / f"{name}.csv").write_text(text)
            for name, content in pictures_of(data, finding.before, finding.after).items():
                (new / f"{name}.png").write_bytes(content)


def _inputs(data: DataModule) -> dict[str, Any]:
    """What the model takes and answers, for whoever uses it elsewhere."""
    return {
        "kind": data.kind,
        "shape": list(data.input_shape),
        "bounds": list(data.bounds),
        "classes": data.class_names,
    }


def left_behind(folder: Path, finding: Finding) -> str:
    """One line that names a job's folder and the repaired weights in it."""
    weights = folder / ARTIFACTS / REPAIRED / WEIGHTS
    if finding.model is None or not weights.exists():
        return f"results: {from_here(folder)}"
    return f"repaired weights: {from_here(weights)}"


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
