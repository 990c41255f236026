"""`python -m study.compare`: its exit codes, and what it leaves behind."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from study.compare import main
from study.models.mlp import MLP
from study.pairs import comparing
from study.runtime.randomness import stream
from study.storage.paths import multirun
from study.tracking.result import Result
from tests.commands import FAST

LINE = ("before=a.pt", "after=b.pt", *(text for text in FAST if not text.startswith("faulty.")))


@pytest.fixture(autouse=True)
def pair(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two untrained networks in files of the current folder."""
    for name in ("a", "b"):
        net = MLP(input_shape=(1, 8, 8), num_classes=10)
        state = {
            key: torch.randn(tensor.shape, generator=stream(0, name, key)) for key, tensor in net.state_dict().items()
        }
        torch.save(state, tmp_path / f"{name}.pt")
    monkeypatch.chdir(tmp_path)
    level = logging.getLogger("study").level
    yield
    logging.getLogger("study").setLevel(level)


def only_result() -> Result:
    (file,) = multirun().rglob("result.json")
    return Result.read(file.parent)


def test_a_comparison_ends_with_0_and_so_does_one_that_is_finished(caplog: pytest.LogCaptureFixture) -> None:
    assert main(LINE) == 0
    assert "compare digits s0: repaired, accuracy" in caplog.text and only_result().status == "FINISHED"
    assert main(LINE) == 0
    assert "finished already" in caplog.text and only_result().tags["method"] == "compare"


def test_a_mistake_ends_with_2_after_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*LINE, "architecture.widths=[9]"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("study.compare: before=a.pt does not fit the architecture") and told.count("\n") == 1
    assert not multirun().exists() or not list(multirun().rglob("*.json"))


def test_a_crash_ends_with_1_and_is_recorded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(comparing, "measured", lambda *_: 1 / 0)
        assert main(LINE) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    crashed = only_result()
    assert (crashed.status, crashed.tags["outcome"], crashed.tags["approach"]) == ("FAILED", "crashed", "compare b.pt")
    assert next(multirun().rglob("traceback.txt")).read_text().endswith("division by zero\n")
    assert main(LINE) == 0  # it is not finished


def test_help_needs_no_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--help"]) == 0
    assert "before=FILE after=FILE" in capsys.readouterr().out
