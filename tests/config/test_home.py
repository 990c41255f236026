"""Where the results of a job may go."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from study.config.home import check_home
from study.errors import UsageError


def test_a_home_that_can_be_made_is_left_unmade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_HOME", str(tmp_path / "a" / "b"))
    check_home(OmegaConf.create({"run": {"dir": str(tmp_path / "a" / "b" / "multirun" / "x")}}), multirun=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks for a folder that not even root may write into")
def test_a_home_that_cannot_be_written_into_is_refused_to_root_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_HOME", "/proc/home")
    with pytest.raises(UsageError, match="/proc: cannot be written into; set STUDY_HOME to a folder of yours"):
        check_home(OmegaConf.create({"run": {"dir": "/proc/home/multirun/x"}}), multirun=False)
