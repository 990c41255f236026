"""Repairs on disk: computed once, used by every job that measures them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from study.repair.run import Repair
from study.storage.files import new_folder
from study.storage.models import load_model, save_model

FILE = "repair.json"


def keep(repair: Repair, folder: Path, code: str) -> None:
    """Store a repair; a crash leaves nothing that `kept` would take for whole."""
    repair.code = code
    told: dict[str, Any] = {
        field.name: getattr(repair, field.name)
        for field in dataclasses.fields(repair)
        if field.name not in ("model", "pictures")
    }
    with new_folder(folder) as new:
        if repair.model is not None:
            save_model(repair.model, new)
        for name, figure in repair.pictures.items():
            figure.savefig(new / f"{name}.png", dpi=120, bbox_inches="tight")
        (new / FILE).write_text(json.dumps(told))


def kept(folder: Path, allowed: Collection[str]) -> Repair | None:
    """The repair stored in `folder`, None if there is none; `allowed`: see `study.storage.models.build`."""
    if not (folder / FILE).exists():
        return None
    told = json.loads((folder / FILE).read_text())
    curves = {name: [(int(step), float(value)) for step, value in curve] for name, curve in told.pop("curves").items()}
    model = load_model(folder, allowed) if told["outcome"] == "repaired" else None
    return Repair(model=model, curves=curves, **told)
