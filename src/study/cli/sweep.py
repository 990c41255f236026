"""The end of a multirun: what became of its jobs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

log = logging.getLogger(__name__)


class Sweep(Callback):
    """Counts the outcomes of a multirun's jobs from their result files when it ends."""

    crashed = 0
    """Jobs of this process's last multirun that ended in an exception."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print the counts; the report compares the jobs."""
        from study.tracking.result import RESULT, Result

        folder = Path(config.hydra.sweep.dir)
        results = [Result.read(path.parent) for path in sorted(folder.rglob(RESULT))]
        outcomes = [result.tags.get("outcome", "crashed") for result in results]
        Sweep.crashed = outcomes.count("crashed")
        counts = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in dict.fromkeys(outcomes))
        if counts:
            print(f"{counts}. Compare: python -m study.report", flush=True)
