"""`python -m study`: Hydra's entry. Everything is composed and checked before the first job starts."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import study
from study.errors import UsageError
from study.runtime.garbage import uncollected
from study.storage.paths import multirun
from study.storage.space import full_disk

if TYPE_CHECKING:
    from study.config.compose import Composed

TELLS = ("help", "hydra_help", "shell_completion")
"""Arguments with which Hydra only tells what there is."""
SHOWS = ("cfg", "info")
"""Arguments with which it shows what the other arguments come to."""


def main() -> None:
    """Run the command line's jobs: exit code 1 if one crashed, 2 for a user's mistake, 130 after Ctrl-C."""
    if "--version" in sys.argv[1:]:
        print(f"study {study.__version__}")
        return
    find_own_modules()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # else Hydra prints what its own writing raises, and raises nothing
    try:
        _start()
    except UsageError as mistake:
        print(f"study: {mistake}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if not (sentence := full_disk(error, multirun())):
            raise
        print(f"study: {sentence}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("study: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def find_own_modules() -> None:
    """Put the current folder on the module search path, where `python -m study` has it and the script `study` has not.

    joblib hands the path on to its workers; those of submitit are started by `python -m` in the same folder.
    """
    here = str(Path.cwd())
    if here not in sys.path and not sys.flags.safe_path:
        sys.path.insert(0, here)


def _start() -> None:
    import hydra

    from study.cli.absent import present
    from study.cli.launch import launch
    from study.cli.search import score
    from study.cli.sweep import Sweep
    from study.config.compose import VERSION_BASE, for_hydra, parsed, searches, with_plus
    from study.storage.paths import conf_folder

    argv = with_plus(sys.argv[1:])
    arguments = parsed(argv)
    if not any(getattr(arguments, name) for name in TELLS):
        with uncollected():
            argv, jobs = present(argv, conf_folder())
            arguments = parsed(argv)
            if _is_only_checked(arguments, jobs):
                return
    sys.argv[1:] = for_hydra(argv, arguments)
    task = score if searches(arguments) else launch
    try:
        hydra.main(config_path=str(conf_folder()), config_name="config", version_base=VERSION_BASE)(task)()
    finally:
        Sweep.end()  # of a multirun that was cut off
    if Sweep.crashed:
        sys.exit(1)


def _is_only_checked(arguments: Namespace, jobs: Sequence[Composed]) -> bool:
    """Check every job; whether the user asked to see them only, in which case they have been listed."""
    if any(getattr(arguments, name) for name in SHOWS):
        return False
    from study.cli.launchers import check_folders, check_launcher
    from study.cli.plan import check, show, unfinished
    from study.config.compose import searches

    if arguments.multirun:
        check_launcher(jobs[0])
        if not searches(arguments):  # its jobs are not all known
            check_folders(jobs)
    planned = any(job.whole.get("plan") for job in jobs)
    prepared = check(jobs if planned else unfinished(jobs))
    if any(job.settings.plan for job in prepared):
        show(prepared)
        return True
    return False


if __name__ == "__main__":
    main()
