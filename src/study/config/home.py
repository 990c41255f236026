"""Where the results of a job go: into the home folder, which the configuration calls `${study_home:}`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from study.errors import UsageError
from study.storage.paths import home
from study.storage.space import full_disk

OmegaConf.register_new_resolver("study_home", lambda: str(home()), use_cache=False, replace=True)


def check_home(hydra: DictConfig, *, multirun: bool) -> None:
    """Raise UsageError where results cannot be written into the home folder, or would not lie in it.

    hydra: Hydra's own part of a job's configuration.
    """
    folder = home()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:  # os.access says yes to root where no file can be made, as in /proc
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        if full_disk(error):
            raise
        raise UsageError(f"{there}: cannot be written into; set STUDY_HOME to a folder of yours") from error
    name = "sweep" if multirun else "run"
    try:
        given: Any = OmegaConf.select(hydra, f"{name}.dir")
    except OmegaConfBaseException:  # it names what is known only once Hydra has started
        return
    results = Path(given).expanduser().resolve()
    if folder not in results.parents:
        raise UsageError(
            f"hydra.{name}.dir={given}: should be a folder inside the home folder {folder}, where results are looked "
            "for; leave it out, or move the home: STUDY_HOME=FOLDER"
        )
