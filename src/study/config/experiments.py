"""What an experiment of the command line brings, known from its file alone; nothing here imports torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from study.storage.paths import conf_folder

OWN = ("--config-dir", "-cd")
"""Options that name a user's own folder of configurations."""


def brings_method(argv: Sequence[str]) -> bool:
    """Whether an experiment among the arguments chooses a method, so that another one replaces it."""
    chosen = [text.partition("=")[2] for text in argv if re.match(r"\+?experiment=", text)]
    folders = [conf_folder(), *_own_folders(argv)]
    names = [name.removesuffix(".yaml") for text in chosen for name in text.split(",")]
    files = [folder / "experiment" / f"{name}.yaml" for folder in folders for name in names]
    return any(
        re.search(r"^\s*-\s*/?method\s*:", file.read_text(errors="replace"), re.M) for file in files if file.is_file()
    )


def _own_folders(argv: Sequence[str]) -> list[Path]:
    pairs = zip(argv, [*argv[1:], ""], strict=False)
    return [Path(text.partition("=")[2] or after) for text, after in pairs if text.partition("=")[0] in OWN]
