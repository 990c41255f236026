"""Where things lie: everything that a user may lose or move hangs on STUDY_HOME and STUDY_DATA."""

import os
from pathlib import Path


def home() -> Path:
    """The folder that holds the three below: STUDY_HOME, or the current folder."""
    return Path(os.environ.get("STUDY_HOME") or ".").expanduser().resolve()


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
