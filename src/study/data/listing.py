"""The image files below a folder, each once whatever links there are, and none that is no file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from study.errors import UsageError


class Listing:
    """Lists image files, and remembers them: symbolic links are followed, but nowhere twice."""

    def __init__(self) -> None:
        self._seen: dict[str, Path] = {}

    def below(self, folder: Path) -> Iterator[Path]:
        """Every image file below `folder`, in an order that no file system decides; hidden ones are left out.

        Raises UsageError for a file or folder that was listed before under another name, and for what has the name of
        an image and is no file: Pillow would wait for a named pipe without end.
        """
        real = os.path.realpath(folder)
        self._see(real, folder)
        with os.scandir(folder) as found:
            entries = sorted((entry for entry in found if not hidden(entry.name)), key=lambda entry: entry.name)
        for entry in entries:
            if entry.name.lower().endswith(IMG_EXTENSIONS) and not entry.is_dir():
                path = folder / entry.name
                if not entry.is_file():
                    raise UsageError(f"{path} is no file that can be read; take it away")
                self._see(os.path.realpath(path) if entry.is_symlink() else f"{real}/{entry.name}", path)
                yield path
        for entry in entries:
            if entry.is_dir():
                yield from self.below(folder / entry.name)

    def _see(self, real: str, path: Path) -> None:
        first = self._seen.setdefault(real, path)
        if first != path:
            raise UsageError(
                f"{path} and {first} are one, by a symbolic link, so that images would count twice; take the link away"
            )


def hidden(name: str) -> bool:
    """Whether a file or folder is left out by its name."""
    return name.startswith(".")
