"""Writes the lock files beside it: every package of this environment as PyPI has it, with the hash of its file.

Run by `make lock` in the environment of the benchmark; pip is only asked what it would install. `build.txt` is the part
of `lock.txt` that builds this package and the dependency without a wheel, and so has to be there first.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

FOLDER = Path(__file__).parent
NOT_LOCKED = ("repair-study", "pip")
BUILD = ("editables", "hatchling", "packaging", "pathspec", "pluggy", "setuptools", "tomlkit", "trove-classifiers")
MIRRORS = ("PIP_CONFIG_FILE", "PIP_CONSTRAINT", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_INDEX_URL")


def main() -> None:
    """Write lock.txt and build.txt."""
    present = {_plain(found.name): found.version for found in distributions()}
    wanted = [f"{name}=={version}" for name, version in present.items() if name not in NOT_LOCKED]
    lines = _lines([*wanted, *(name for name in BUILD if name not in present)])
    python = ".".join(platform.python_version_tuple()[:2])
    head = (
        f"# For Python {python} on {platform.system()} {platform.machine()}; made by `make lock`, read by LOCKED=1.\n"
    )
    (FOLDER / "lock.txt").write_text(head + "".join(lines[name] for name in sorted(lines)))
    (FOLDER / "build.txt").write_text(head + "".join(lines[name] for name in BUILD))


def _lines(wanted: Iterable[str]) -> dict[str, str]:
    """The line of each package: its version, and the hash of the one file that fits this machine."""
    # PyPI's own files, whatever this machine's pip is told to prefer.
    environment = {name: value for name, value in os.environ.items() if name not in MIRRORS}
    environment["PIP_CONFIG_FILE"] = os.devnull
    with TemporaryDirectory() as folder:
        report, pip = Path(folder, "report.json"), [str(Path(folder, "bin", "python")), "-m", "pip", "install", "-q"]
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([*pip, "pip>=23.3"], check=True, env=environment)  # the first that downloads nothing for this
        options = ["--dry-run", "--no-deps", "--index-url", "https://pypi.org/simple", "--report", str(report)]
        subprocess.run([*pip, *options, "--ignore-installed", *wanted], check=True, env=environment)
        found = json.loads(report.read_text())["install"]
    locked = {}
    for item in found:
        name, version = _plain(item["metadata"]["name"]), item["metadata"]["version"]
        locked[name] = f"{name}=={version} --hash=sha256:{item['download_info']['archive_info']['hashes']['sha256']}\n"
    return locked


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


if __name__ == "__main__":
    main()
