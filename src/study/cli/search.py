"""A search in place of a grid (hydra/sweeper=optuna): what a job returns to the sweeper, and what came of it."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from study.cli.launch import launch
from study.errors import nearest

if TYPE_CHECKING:
    from study.tracking.result import Result

FOUND = "optimization_results.yaml"
"""What Optuna's sweeper writes into the folder of the multirun."""

log = logging.getLogger(__name__)


def score(config: DictConfig) -> float:
    """Run one job; returns the metric `objective` of its result, which the search makes as high as possible.

    Minus infinity where the result has none: there was no repair, or the job crashed.
    """
    from study.tracking.result import RESULT, Result

    launch(config)
    hydra: Any = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    result = Result.read(folder) if (folder / RESULT).exists() else _earlier(config, hydra)
    if result is None:
        return -math.inf
    if result.tags.get("outcome") == "repaired" and config.objective not in result.metrics:
        hint = nearest(config.objective, result.metrics)
        log.warning("objective=%s: the result has no such metric; %s", config.objective, hint)
    return result.metrics.get(config.objective, -math.inf)


def best(folder: Path, objective: str) -> list[str]:
    """A line that says which values were the best ones of the search in `folder`; none of any other multirun."""
    file = folder / FOUND
    if not file.exists():
        return []
    found: Any = OmegaConf.load(file)
    values = " ".join(f"{name.lstrip('+')}={value}" for name, value in found.best_params.items())
    return [f"Best: {values} ({objective}={found.best_value:.4g}), as {FOUND} in the same folder says."]


def _earlier(config: DictConfig, hydra: Any) -> Result | None:
    """The result of a job that was finished before and is not run again; None if its files are gone."""
    from study.config.job import prepare
    from study.config.keys import Keys
    from study.tracking import ledger
    from study.tracking.result import Result

    job = prepare(config, hydra, list(hydra.overrides.task))
    job.data.load(job.settings.subject.seed)
    folder = ledger.folder_of(Keys.of(job).job)
    return None if folder is None else Result.read(folder)
