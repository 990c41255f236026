"""The locked environment is one that this project can be installed into, and each file of it is known by its hash."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LINE = re.compile(r"([a-z0-9-]+)==(\S+) --hash=sha256:[0-9a-f]{64}")


def lines(name: str) -> list[str]:
    """The packages of a lock file, without its comment."""
    return [line for line in (ROOT / "requirements" / name).read_text().splitlines() if not line.startswith("#")]


def locked() -> dict[str, str]:
    """Version of each locked package."""
    found = [LINE.fullmatch(line) for line in lines("lock.txt")]
    return {match[1]: match[2] for match in found if match}


def required() -> Iterator[Requirement]:
    """What pyproject.toml asks for, with all of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in [
        *project["dependencies"],
        *(text for extra in project["optional-dependencies"].values() for text in extra),
    ]:
        if Requirement(text).name != project["name"]:
            yield Requirement(text)


@pytest.mark.parametrize("name", ["lock.txt", "build.txt"])
def test_each_line_is_one_version_with_its_hash(name: str) -> None:
    assert [line for line in lines(name) if not LINE.fullmatch(line)] == []


def test_the_lock_holds_what_the_project_asks_for() -> None:
    versions = locked()
    for requirement in required():
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not locked: make lock"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: {version} is locked"


def test_what_builds_is_locked_with_the_rest() -> None:
    assert set(lines("build.txt")) <= set(lines("lock.txt"))
    system = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    assert {Requirement(text).name for text in system["requires"]} <= locked().keys()


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_no_withdrawn_release_of_lightning_can_be_installed(version: str) -> None:
    (lightning,) = [requirement for requirement in required() if requirement.name == "pytorch-lightning"]
    assert not lightning.specifier.contains(version)
