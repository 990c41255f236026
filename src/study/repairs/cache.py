"""Repairs on disk: computed once, used by every job that measures them."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from study.problem.problem import Problem
from study.repairs.approach import Approach
from study.repairs.changes import LayerChange
from study.repairs.run import RepairResult, run_repair
from study.runtime.hardware import Hardware
from study.storage.checksums import is_kept, seal
from study.storage.files import locked, new_folder, remove_remains
from study.storage.models import load_model, save_model

log = logging.getLogger(__name__)
FILE = "repair.json"


def repair_once(
    approach: Approach,
    problem: Problem,
    hardware: Hardware,
    folder: Path,
    code: str,
    allowed: Collection[str] = (),
    *,
    again: bool = False,
) -> RepairResult:
    """The repair that is stored in `folder`, computed and stored first if there is none.

    Of several processes one repairs, the others wait. A stored repair stays until a new one replaces it; one that is
    damaged is set aside and computed anew.

    Args:
        folder: determined by everything that determines the repair.
        code: fingerprint of the present code; an older repair keeps its own.
        allowed: classes outside this package that a stored model may name, see `study.storage.models`.
        again: compute it whatever is stored.
    """
    with locked(folder.with_suffix(".lock")):
        remove_remains(folder)
        result = None if again else load(folder, allowed)
        if result is None:
            log.info("%s: repairing %d failing inputs", type(approach).__name__, len(problem.failing))
            result = dataclasses.replace(run_repair(approach, problem, hardware), code=code)
            save(result, folder)
    return result


def save(result: RepairResult, folder: Path) -> None:
    """Store a repair; a crash leaves nothing that `load` accepts."""
    fields: dict[str, Any] = {
        field.name: getattr(result, field.name)
        for field in dataclasses.fields(result)
        if field.name not in ("model", "pictures")
    }
    with new_folder(folder) as new:
        if result.model is not None:
            save_model(result.model, new)
        for name, figure in result.pictures.items():
            figure.savefig(new / f"{name}.png", dpi=120, bbox_inches="tight")
        (new / FILE).write_text(json.dumps(fields))
        seal(new)


def load(folder: Path, allowed: Collection[str]) -> RepairResult | None:
    """The repair stored in `folder`, without its pictures; None if there is none that is whole."""
    if not is_kept(folder):
        return None
    fields = json.loads((folder / FILE).read_text())
    stored = fields.pop("curves")
    curves = {name: [(int(step), float(value)) for step, value in curve] for name, curve in stored.items()}
    fields["layers"] = [LayerChange(*layer) for layer in fields.get("layers", ())]
    model = load_model(folder, allowed) if fields["outcome"] == "repaired" else None
    return RepairResult(model=model, curves=curves, **fields)
