"""The examples of CONTRIBUTING.md, run as a contributor would."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from study.storage.models import load_model
from study.tracking.result import Result
from tests.commands import run_job

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
FILES = re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", TEXT, re.M | re.S)
COMMANDS = re.findall(r"^python -m study (.*)$", TEXT, re.M)
QUICK = ("faulty.epochs=4", "trainer.threads=1", "trainer.progress=false")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Path) -> Path:
    """A folder with every example file, importable."""
    for name, content in FILES:
        file = tmp_path / "work" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.syspath_prepend(tmp_path / "work")
    return tmp_path / "work"


def test_there_is_an_example_of_each_kind() -> None:
    assert len(FILES) == 8 and len(COMMANDS) == 4
    assert {name.split("/")[1] for name, _ in FILES if "/" in name} == {"method", "dataset", "metric", "safeguard"}


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_runs(command: str) -> None:
    outcome, folder = run_job(*shlex.split(command), *QUICK)
    result = Result.read(folder)
    assert outcome in ("repaired", "failure"), result.tags
    assert result.metrics["before/accuracy"] > 0.3
    if "boldness" in command:
        assert 0 < result.metrics["after/bolder"] <= 1
        assert result.properties["bolder"].higher_is_better is False
    if "cancer" in command:
        assert "attack_success_rate" in result.not_applicable
        assert not any("attack" in name for name in result.metrics)
    if "half" in command:
        assert "Vote" in type(load_model(folder / "artifacts" / "repaired")).__name__
