"""Where things lie: everything that a user may lose or move hangs on STUDY_HOME and STUDY_DATA."""

import os
import re
from pathlib import Path

from study.errors import UsageError

MISREAD = {
    r"\?": "the address of a database cannot hold it",
    r"%[0-9A-Fa-f]{2}": "the address of a database cannot hold it",
    r"\$\{": "the configuration would take it for a reference",
    r"[\x00-\x1f\x7f]": "a path in a message or a list has one line",
}
"""What the path of the home folder cannot hold, as it would be read as something else, and why."""


def home() -> Path:
    """The folder that holds the three below: STUDY_HOME, or the current folder; it need not be there yet.

    Raises UsageError where it cannot be one: a file is in its place, or its path would be misread.
    """
    given = os.environ.get("STUDY_HOME")
    path = Path(given or ".").expanduser().resolve()
    what = f"STUDY_HOME={given}" if given else f"the current folder {path}"
    for pattern, reason in MISREAD.items():
        if found := re.search(pattern, str(path)):
            raise UsageError(f"{what}: holds {found.group()}, and {reason}; set STUDY_HOME to another folder")
    there = next(place for place in (path, *path.parents) if place.exists())
    if not there.is_dir():
        raise UsageError(f"{what}: {there} is a file; set STUDY_HOME to a folder")
    return path


def multirun() -> Path:
    """Folders of the jobs, each with its result file: the truth about what was measured."""
    return home() / "multirun"


def mlruns() -> Path:
    """The local MLflow store, which can be rebuilt from `multirun`."""
    return home() / "mlruns"


def cache() -> Path:
    """Faulty and repaired models, kept so that nothing is computed twice."""
    return home() / ".cache"


def data_root() -> Path:
    """Data sets: STUDY_DATA, or `data` in the home folder."""
    chosen = os.environ.get("STUDY_DATA")
    return Path(chosen).expanduser().resolve() if chosen else home() / "data"


def from_here(path: Path) -> Path:
    """A path as one sees it from the current folder, where it lies in there."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def check_file(path: Path, setting: str) -> None:
    """Raise UsageError unless the path of a setting is that of a file."""
    if path.is_dir():
        raise UsageError(f"{setting}={path}: is a folder; name the file in it")
    if not path.is_file():
        raise UsageError(f"{setting}={path}: there is no such file")


def conf_folder() -> Path:
    """The configuration that belongs to this code: inside an installed package, or at the top of its repository.

    Raises:
        FileNotFoundError: The installation is broken: there is neither.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no conf/config.yaml, neither in {package} nor in {package.parents[1]}")
