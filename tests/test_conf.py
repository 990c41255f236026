"""Every file of conf/ composes, agrees with what it builds, and explains each of its values."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from study.config.options import SCALES, option
from study.config.overrides import GROUPS
from study.storage.paths import conf_folder
from tests.commands import compositions

CONF = conf_folder()
FILES = sorted(CONF.rglob("*.yaml"))
METHODS = [path for path in FILES if path.is_relative_to(CONF / "method")]


def named(path: Path) -> str:
    """The override that chooses a file."""
    group, _, _ = path.relative_to(CONF).as_posix().partition("/")
    if path.is_relative_to(CONF / "hydra"):
        group = "hydra/launcher"
    option = path.relative_to(CONF / group).with_suffix("").as_posix()
    return f"{'+' if group == 'method' else ''}{group}={option}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CONF).as_posix())
def test_every_file_composes(path: Path) -> None:
    assert compositions(*([] if path.name == "config.yaml" else [named(path)]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CONF).as_posix())
def test_every_value_has_a_comment(path: Path) -> None:
    lines = path.read_text().splitlines()
    hydra = lines.index("hydra:") if "hydra:" in lines else len(lines)
    for number, line in enumerate(lines[:hydra]):
        name, colon, value = line.partition(":")
        if (
            not colon
            or not value.strip()
            or name.strip().startswith(("#", "-"))
            or name.strip() in ("_target_", "defaults")
        ):
            continue
        assert "#" in value or lines[number - 1].strip().startswith("#") or path.parent.name == "launcher", line


def defaults_of(target: Any) -> dict[str, Any]:
    """A constructor's keyword arguments with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


@pytest.mark.parametrize("path", METHODS, ids=lambda path: path.relative_to(CONF / "method").as_posix())
def test_a_methods_file_is_its_constructors_signature(path: Path) -> None:
    (job,) = compositions(named(path))
    values = OmegaConf.to_container(job.config.method, resolve=True)
    assert isinstance(values, dict)
    target = values.pop("_target_")
    defaults = defaults_of(get_class(target))
    assert set(values) == set(defaults)
    if path.parent.name not in SCALES and target.rpartition(".")[2].lower() == path.stem.replace("_", ""):
        assert values == {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}


@pytest.mark.parametrize("group", [group for group in GROUPS if group not in ("method", "architecture", "metric")])
def test_a_groups_files_name_all_settings(group: str) -> None:
    for path in (CONF / group).glob("*.yaml"):
        (job,) = compositions(named(path))
        values = dict(job.config[group])
        target = get_class(values.pop("_target_"))
        accepted = set(inspect.signature(target).parameters)
        assert set(values) == accepted, path


@pytest.mark.parametrize("scale", SCALES)
def test_what_is_at_another_scale_is_a_default_with_other_values(scale: str) -> None:
    names = [path.stem for path in METHODS if path.parent.name == scale]
    assert names
    for name in names:
        usual, scaled = option("method", name), option("method", f"{scale}/{name}")
        assert usual is not None and scaled is not None
        own = OmegaConf.load(CONF / "method" / scale / f"{name}.yaml")
        assert isinstance(own, DictConfig)
        assert {setting for setting in own if setting != "defaults"} == {
            setting for setting in usual if usual[setting] != scaled[setting]
        }


def test_each_value_of_the_authors_regime_names_its_source() -> None:
    sources = ("code", "paper", "artefact", "study")
    for path in METHODS:
        if path.parent.name == "published":
            values = [line for line in path.read_text().splitlines() if ": " in line and line[0] not in "#d "]
            assert values and all(any(source in line for source in sources) for line in values), path


def test_a_regime_that_the_authors_code_has_is_published_and_nothing_else() -> None:
    """One name for each regime: the same values stand in no two files."""
    for name in {path.stem for path in METHODS if path.parent.name in SCALES}:
        files = [settings for settings in (option("method", f"{scale}/{name}") for scale in SCALES) if settings]
        assert len(files) < 2 or files[0] != files[1], name
