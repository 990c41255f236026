"""What all data sets have in common: where they lie, and their configs."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

from study.data.module import DataModule
from study.storage.paths import data_root

CONF = Path(__file__).parents[2] / "conf"
CONFIGS = sorted((CONF / "dataset").glob("*.yaml"))


def test_data_root_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STUDY_DATA", raising=False)
    monkeypatch.delenv("STUDY_HOME", raising=False)
    assert data_root() == tmp_path / "data"
    monkeypatch.setenv("STUDY_HOME", "/home/of/study")
    assert data_root() == Path("/home/of/study/data")
    monkeypatch.setenv("STUDY_DATA", "/of/data")
    assert data_root() == Path("/of/data")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_has_every_argument_with_its_default(path: Path) -> None:
    config = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(config, dict)
    module = get_class(config.pop("_target_"))
    assert issubclass(module, DataModule) and module.name == path.stem
    defaults = {name: argument.default for name, argument in inspect.signature(module).parameters.items()}
    assert config == {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_data_set_has_a_usual_architecture(path: Path) -> None:
    config = OmegaConf.load(CONF / "architecture" / f"default_{path.stem}.yaml")
    assert all((CONF / "architecture" / f"{name}.yaml").is_file() for name in config.defaults)
