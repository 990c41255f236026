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

from study.cli.logbook import CRASHED, Logbook
from study.errors import UsageError
from study.storage.paths import home

if TYPE_CHECKING:
    from study.tracking.about import About

log = logging.getLogger(__name__)
OmegaConf.register_new_resolver("study_home", lambda: str(home()), use_cache=False, replace=True)
# In a launcher's worker process Hydra forgets which version it is to be compatible with, and warns at each job.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")


def launch(config: DictConfig) -> str:
    """Run one job; returns its outcome. What ends the process ends it with 2 (a user's mistake) or 1 (a crash)."""
    hydra: Any = HydraConfig.get()
    if hydra.mode.name == "MULTIRUN":
        return _of_many(config, hydra)
    about = _about(config, hydra, time.time())
    try:
        return _run(config, hydra, about)
    except UsageError as mistake:  # of a kind that only shows once data or weights are read
        print(f"study: {mistake}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        log.error("crashed: %s", traceback.format_exc())
        record_crash(config, about, Path(hydra.runtime.output_dir), error)
        sys.exit(1)


def _of_many(config: DictConfig, hydra: Any) -> str:
    """Run a job of a multirun, which an exception does not end: it is recorded, and the job's outcome is `crashed`.

    With `fail_fast` the jobs after a crashed one are not run.
    """
    logbook, number = Logbook(Path(hydra.sweep.dir)), int(hydra.job.num)
    if config.fail_fast and any(entry.outcome == CRASHED for entry in logbook.entries()):
        return "not run"
    about = _about(config, hydra, time.time())
    entry = logbook.start(number, about.run_name)
    log.info("%s: %s", logbook.place(number), about.run_name)
    if _shares_terminal(hydra):
        _label(f"job {number + 1}")
    try:
        outcome = _run(config, hydra, about)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        log.error("crashed: %s", reason)
        logbook.end(entry, CRASHED, reason)
        record_crash(config, about, Path(hydra.runtime.output_dir), error)
        return CRASHED
    logbook.end(entry, outcome)
    return outcome


def _run(config: DictConfig, hydra: Any, about: About) -> str:
    from study.config.job import prepare
    from study.job import run
    from study.runtime.progress import shown

    with shown(config.trainer.progress, shared=_shares_terminal(hydra)):
        return run(prepare(config, hydra, list(hydra.overrides.task)), about, Path(hydra.runtime.output_dir))


def _shares_terminal(hydra: Any) -> bool:
    """Whether the launcher runs jobs at the same time, in processes of their own."""
    return not hydra.launcher._target_.endswith(".BasicLauncher")


def _label(name: str) -> None:
    """Begin the job's lines in the terminal with its name, to tell them from those of other jobs."""
    for handler in logging.root.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.setFormatter(logging.Formatter(f"{name}: %(message)s"))


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
    names = Names.of(config, dict(hydra.runtime.choices), list(hydra.overrides.task))
    return About(
        experiment=values["tracking"]["experiment"],
        run_name=names.run,
        tags=names.tags(),
        config=values,
        sweep="" if hydra.mode.name != "MULTIRUN" else Path(hydra.sweep.dir).relative_to(home()).as_posix(),
        started=started,
    )
