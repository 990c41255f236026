"""`python -m study`: Hydra's entry. Everything is composed and checked before the first job starts."""

from __future__ import annotations

import sys

import hydra

from study.cli.launch import launch
from study.cli.sweep import Sweep
from study.config.compose import VERSION_BASE, composed, for_hydra, parsed, with_plus
from study.errors import UsageError
from study.storage.paths import conf_folder

INFORMATION = ("help", "hydra_help", "cfg", "info", "shell_completion")
"""Arguments with which Hydra only tells something."""


def main() -> None:
    """Run the command line's jobs: exit code 1 if one crashed, 2 for a user's mistake, 130 after Ctrl-C."""
    sys.argv[1:] = with_plus(sys.argv[1:])
    arguments = parsed(sys.argv[1:])
    try:
        if not any(getattr(arguments, name) for name in INFORMATION):
            jobs = composed(arguments, conf_folder())
            if _planned_only(jobs):
                return
            sys.argv[1:] = for_hydra(sys.argv[1:], arguments.multirun)
        hydra.main(config_path=str(conf_folder()), config_name="config", version_base=VERSION_BASE)(launch)()
    except UsageError as mistake:
        print(f"study: {mistake}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("study: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    if Sweep.crashed:
        sys.exit(1)


def _planned_only(jobs: list) -> bool:
    """Check every job; whether the user asked to see them only, in which case they have been listed."""
    from study.cli.plan import check, show

    prepared = check(jobs)
    if any(job.settings.plan for job in prepared):
        show(prepared)
        return True
    return False


if __name__ == "__main__":
    main()
