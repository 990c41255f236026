"""What Hydra calls for each job, in whatever process its launcher chose; the job's end is told by its result file."""

from __future__ import annotations

import logging
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from study.errors import UsageError
from study.storage.paths import home

log = logging.getLogger(__name__)
OmegaConf.register_new_resolver("study_home", lambda: str(home()), use_cache=False, replace=True)
# In a launcher's worker process Hydra forgets which version it is to be compatible with, and warns at each job.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")


def launch(config: DictConfig) -> str:
    """Run one job; returns its outcome, `crashed` after an exception, which is recorded and does not end a sweep."""
    from study.config.job import prepare
    from study.job import run

    hydra: Any = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    sweep = Path(hydra.sweep.dir).relative_to(home()).as_posix() if hydra.mode.name == "MULTIRUN" else ""
    started = time.time()
    alone = hydra.mode.name != "MULTIRUN"
    try:
        job = prepare(config, hydra, list(hydra.overrides.task))
        return run(job, folder, sweep)
    except Exception as error:
        if alone and isinstance(error, UsageError):  # of a kind that only shows once data or weights are read
            print(f"study: {error}", file=sys.stderr)
            sys.exit(2)
        log.error("crashed: %s", traceback.format_exc() if alone else f"{type(error).__name__}: {error}")
        if not (folder / "result.json").exists():  # it is there where only the store failed: `study.record` helps
            record_crash(config, folder, sweep, started)
        if alone:
            sys.exit(1)
        if config.fail_fast:
            raise
        return "crashed"


def record_crash(config: DictConfig, folder: Path, sweep: str, started: float) -> None:
    """Write down an exception as a FAILED result, with its traceback as an artifact."""
    from hydra.utils import instantiate

    from study.tracking.result import Result, flattened

    hydra: Any = HydraConfig.get()
    choices = hydra.runtime.choices
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    (folder / "artifacts" / "traceback.txt").write_text(traceback.format_exc())
    values: Any = OmegaConf.to_container(config, resolve=True)
    store = instantiate(config.tracking)
    result = Result(
        key=f"crashed-{started:.6f}",
        experiment=store.experiment,
        run_name=f"{choices.get('method', 'none')} {choices.dataset} s{config.seed}",
        status="FAILED",
        tags={
            "method": choices.get("method", "none"),
            "dataset": choices.dataset,
            "seed": str(config.seed),
            "safeguard": choices.safeguard,
            "outcome": "crashed",
            "reason": traceback.format_exc().strip().splitlines()[-1][:400],
            "sweep": sweep,
        },
        params=flattened(values),
        metrics={},
        curves={},
        started=started,
        ended=time.time(),
    )
    result.write(folder)
    store.write(folder)
