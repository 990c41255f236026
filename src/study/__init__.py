"""Repair trained classifiers with many approaches under identical conditions, and measure what each changes.

From Python: `repair` a model, `evaluate` two of them against each other, `load` a repaired one, `export` it; `Data`
says more of one's data than a bare data set does. Nothing heavy is imported before one of them is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.api.comparison import Comparison
    from study.api.data import Data
    from study.api.exporting import export
    from study.api.loading import load
    from study.api.repairing import Repair, evaluate, repair

__version__ = "0.1.0"
__all__ = ["Comparison", "Data", "Repair", "evaluate", "export", "load", "repair"]

_HOMES = {
    "Comparison": "comparison",
    "Data": "data",
    "Repair": "repairing",
    "evaluate": "repairing",
    "export": "exporting",
    "load": "loading",
    "repair": "repairing",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"study.api.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
