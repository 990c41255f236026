"""What all data sets have in common: where they lie, and their configs."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

from study.data.module import DataModule
from study.data.skewed import Skewed
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
    defaults = {name: argument.default for name, argument in inspect.signature(module).parameters.items()}
    if module is Skewed:  # each file has a data set of its own underneath, which its defaults list brings
        assert set(config) - {"defaults"} == set(defaults) - {"of"}
        return
    assert issubclass(module, DataModule) and module.name == path.stem
    assert set(config) == set(defaults)
    own = "__init__" in vars(module)  # a constructor that several data sets share has the defaults of none of them
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}
    assert not own or {name: value for name, value in config.items() if not _refers(value)} == {
        name: value for name, value in plain.items() if not _refers(config[name])
    }


def _refers(value: object) -> bool:
    """Whether it follows from another setting."""
    return isinstance(value, str) and value.startswith("${")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_data_set_has_a_usual_architecture(path: Path) -> None:
    config = OmegaConf.load(CONF / "architecture" / f"default_{path.stem}.yaml")
    names = [name for name in config.defaults if name != "_self_"]
    assert len(names) == 1
    assert (CONF / "architecture" / f"{names[0]}.yaml").is_file()
