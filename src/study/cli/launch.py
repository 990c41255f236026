"""What Hydra calls for each job, in whatever process its launcher chose; its end is known from its result file."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

import study.config.home  # noqa: F401 (in a launcher's worker too Hydra needs what it registers)
from study.cli.logbook import CRASHED, NOT_RECORDED, SKIPPED, Logbook
from study.cli.lost import is_stop
from study.config.names import Names
from study.errors import NotRecorded, UsageError
from study.runtime.parent import end_as_worker
from study.storage.paths import home
from study.storage.space import full_disk

if TYPE_CHECKING:
    from study.tracking.about import About

log = logging.getLogger(__name__)
GOES_ON = "the same command records it, without measuring again"
logging.raiseExceptions = False  # a log that cannot be written is no reason for a traceback at each of its lines
# In a launcher's worker process Hydra forgets which version it is to be compatible with, and warns at each job.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")


def launch(config: DictConfig) -> str:
    """Run one job; returns its outcome. What ends the process ends it with 2 (a user's mistake) or 1 (a crash)."""
    end_as_worker()
    hydra: Any = HydraConfig.get()
    if hydra.mode.name == "MULTIRUN":
        outcome = _of_many(config, hydra)
        _make_room()
        return outcome
    if _is_finished(config, hydra):
        return _skip(config, hydra)
    about = _about(config, hydra, time.time())
    try:
        return _run(config, hydra, about)
    except UsageError as mistake:  # of a kind that only shows once data or weights are read
        print(f"study: {mistake}", file=sys.stderr)
        _leave_nothing(Path(hydra.runtime.output_dir))
        sys.exit(2)
    except NotRecorded as refusal:
        print(f"study: {refusal}; {GOES_ON}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        log.error("crashed: %s", full_disk(error) or traceback.format_exc())
        record_crash(config, about, Path(hydra.runtime.output_dir), error)
        sys.exit(1)


def _of_many(config: DictConfig, hydra: Any) -> str:
    """Run a job of a multirun, which an exception does not end: it is recorded, and the job's outcome is `crashed`.

    With `fail_fast` the jobs after a crashed one are not run.
    """
    logbook, number = Logbook(Path(hydra.sweep.dir)), int(hydra.job.num)
    if config.fail_fast and any(entry.outcome == CRASHED for entry in logbook.entries()):
        return "not run"
    started, name = time.time(), _names(config, hydra).run
    entry = logbook.start(number, name)
    log.info("%s: %s", logbook.place(number), name)
    if _shares_terminal(hydra):
        _label(f"job {number + 1}")
    if _is_finished(config, hydra):
        logbook.end(entry, _skip(config, hydra))
        return SKIPPED
    about = _about(config, hydra, started)
    try:
        outcome = _run(config, hydra, about)
    except NotRecorded as refusal:
        log.error("not recorded: %s", refusal.reason)
        logbook.end(entry, NOT_RECORDED, refusal.reason)
        return NOT_RECORDED
    except Exception as error:
        if is_stop(error):  # who waits for the job notes that it was lost
            raise
        reason = full_disk(error) or f"{type(error).__name__}: {error}".splitlines()[0]
        log.error("crashed: %s", reason)
        record_crash(config, about, Path(hydra.runtime.output_dir), error)
        with contextlib.suppress(OSError):  # a full disk again: it then counts as unfinished
            logbook.end(entry, CRASHED, reason)
        return CRASHED
    logbook.end(entry, outcome)
    return outcome


def _is_finished(config: DictConfig, hydra: Any) -> bool:
    """Whether a job is finished, as far as that is known without importing what it would run with."""
    from study.config import known

    return known.finished(config, hydra)


def _skip(config: DictConfig, hydra: Any) -> str:
    from study.tracking.ledger import ALREADY
    from study.tracking.unfinished import not_run

    log.info("%s: %s", _names(config, hydra).run, ALREADY)
    not_run(Path(hydra.runtime.output_dir))
    return SKIPPED


def _run(config: DictConfig, hydra: Any, about: About) -> str:
    from study.config.job import prepare
    from study.job import run
    from study.runtime.progress import shown
    from study.tracking.unfinished import not_run, running

    folder = Path(hydra.runtime.output_dir)
    with shown(config.trainer.progress, shared=_shares_terminal(hydra)), running(folder):
        outcome = run(prepare(config, hydra, list(hydra.overrides.task)), about, folder)
        if outcome == SKIPPED:
            not_run(folder)
        return outcome


def _leave_nothing(folder: Path) -> None:
    """Remove the folder of a job that came to nothing, and those above it that it alone was in, within the home."""
    if {entry.name for entry in folder.iterdir()} <= {".hydra", "study.log"}:
        shutil.rmtree(folder)
        for above in (above for above in folder.parents if home() in above.parents):
            with contextlib.suppress(OSError):  # not empty
                above.rmdir()


def _make_room() -> None:
    """Before the next job in this process, and outside all that the last one called: nothing refers to its data now."""
    if "torch" not in sys.modules:
        return  # no job has run here
    from study.runtime.memory import release

    release()


def _shares_terminal(hydra: Any) -> bool:
    """Whether the launcher runs jobs at the same time, in processes of their own."""
    return not hydra.launcher._target_.endswith(".BasicLauncher")


def _label(name: str) -> None:
    """Begin the job's lines in the terminal with its name, to tell them from those of other jobs."""
    for handler in logging.root.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.setFormatter(logging.Formatter(f"{name}: %(message)s"))


def record_crash(config: DictConfig, about: About, folder: Path, error: Exception) -> None:
    """Write an exception down as a FAILED result, with its traceback as an artifact, as far as the store takes it.

    A result that is there already stays. A full disk takes no record, and is nothing that a traceback explains.
    """
    from hydra.utils import instantiate

    from study.tracking.result import ARTIFACTS, RESULT

    if (folder / RESULT).exists() or full_disk(error):
        return
    try:
        (folder / ARTIFACTS).mkdir(parents=True, exist_ok=True)
        (folder / ARTIFACTS / "traceback.txt").write_text("".join(traceback.format_exception(error)))
        about.crash(error).write(folder)
        instantiate(config.tracking).write(folder)
    except (OSError, NotRecorded) as refusal:
        log.error("the crash itself could not be recorded: %s", refusal)


def _about(config: DictConfig, hydra: Any, started: float) -> About:
    """What the run of this job is about, as its configuration says."""
    from study.tracking.about import About

    values: Any = OmegaConf.to_container(config, resolve=True)
    names = _names(config, hydra)
    return About(
        experiment=values["tracking"]["experiment"],
        run_name=names.run,
        tags=names.tags(),
        config=values,
        sweep="" if hydra.mode.name != "MULTIRUN" else Path(hydra.sweep.dir).relative_to(home()).as_posix(),
        started=started,
    )


def _names(config: DictConfig, hydra: Any) -> Names:
    return Names.of(config, dict(hydra.runtime.choices), list(hydra.overrides.task))
