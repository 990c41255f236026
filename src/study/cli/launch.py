"""What Hydra calls for each job, in whatever process its launcher chose; its end is known from its result file."""

from __future__ import annotations

import logging
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from study.errors import UsageError
from study.storage.paths import home

if TYPE_CHECKING:
    from study.tracking.about import About

log = logging.getLogger(__name__)
OmegaConf.register_new_resolver("study_home", lambda: str(home()), use_cache=False, replace=True)
# In a launcher's worker process Hydra forgets which version it is to be compatible with, and warns at each job.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")


def launch(config: DictConfig) -> str:
    """Run one job; returns its outcome, `crashed` after an exception, which is recorded and does not end a sweep."""
    from study.config.job import prepare
    from study.job import run

    hydra: Any = HydraConfig.get()
    folder, alone = Path(hydra.runtime.output_dir), hydra.mode.name != "MULTIRUN"
    about = _about(config, hydra, time.time())
    try:
        return run(prepare(config, hydra, list(hydra.overrides.task)), about, folder)
    except Exception as error:
        if alone and isinstance(error, UsageError):  # of a kind that only shows once data or weights are read
            print(f"study: {error}", file=sys.stderr)
            sys.exit(2)
        log.error("crashed: %s", traceback.format_exc() if alone else f"{type(error).__name__}: {error}")
        record_crash(config, about, folder, error)
        if alone:
            sys.exit(1)
        if config.fail_fast:
            raise
        return "crashed"


def record_crash(config: DictConfig, about: About, folder: Path, error: Exception) -> None:
    """Write an exception down as a FAILED result, with its traceback as an artifact.

    A result that is there already stays: then only the store failed, and `python -m study.record` helps.
    """
    from hydra.utils import instantiate

    from study.tracking.result import ARTIFACTS, RESULT

    if (folder / RESULT).exists():
        return
    (folder / ARTIFACTS).mkdir(parents=True, exist_ok=True)
    (folder / ARTIFACTS / "traceback.txt").write_text("".join(traceback.format_exception(error)))
    about.crash(error).write(folder)
    instantiate(config.tracking).write(folder)


def _about(config: DictConfig, hydra: Any, started: float) -> About:
    """What the run of this job is about, as its configuration says."""
    from study.config.names import Names
    from study.tracking.about import About

    values: Any = OmegaConf.to_container(config, resolve=True)
    names = Names.of(values, dict(hydra.runtime.choices))
    return About(
        experiment=values["tracking"]["experiment"],
        run_name=names.run,
        tags=names.tags(),
        config=values,
        sweep="" if hydra.mode.name != "MULTIRUN" else Path(hydra.sweep.dir).relative_to(home()).as_posix(),
        started=started,
    )
