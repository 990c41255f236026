"""Where a run is written, and how files get there: second names in a local store, uploads to a server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from study.storage.files import linked

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """An experiment of an MLflow store.

    local: the store lies on this machine and is ours alone, since we hold its lock.
    """

    client: MlflowClient
    experiment_id: str
    local: bool

    def place(self, sources: Iterable[Path], location: str, upload: Callable[[str], None]) -> None:
        """Make artifacts of files and folders under the URI `location`; each keeps its name.

        A local store gets a second name of the same file, so that nothing is stored twice; `upload` sends one to a
        server. What is a symbolic link, or holds one, is left out: it would lead to files that are not of this job.
        """
        sources = [source for source in sources if not _leads_elsewhere(source)]
        if not self.local:
            for source in sources:
                upload(str(source))
            return
        from mlflow.utils.file_utils import local_file_uri_to_path

        folder = Path(local_file_uri_to_path(location))
        for source in sources:
            _link(source, folder / source.name)


def _leads_elsewhere(source: Path) -> bool:
    links = [path for path in (source, *source.rglob("*")) if path.is_symlink()]
    if links:
        log.warning("%s is left out of the store: it is a symbolic link", links[0])
    return bool(links)


def _link(source: Path, target: Path) -> None:
    """Link a file, or all files of a folder."""
    if source.is_dir():
        for inner in source.iterdir():
            _link(inner, target / inner.name)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        linked(source, target)
