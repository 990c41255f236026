"""What a finished job repaired, read back from its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from study.config.stored import subject_of
from study.data.arrays import Arrays
from study.errors import UsageError
from study.problem.prediction import accuracy
from study.storage.paths import data_root, multirun
from study.tracking.result import RESULT, Result
from tests.commands import prepared

LINE = ("dataset=arrays", "dataset.file=mine.npz", "architecture=mlp", "faulty.checkpoint=net.pt")


def test_relative_paths_are_seen_from_where_the_job_was_started(
    program: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for place in (here, elsewhere):
        place.mkdir()
    draws = np.random.default_rng(0)
    labels = np.arange(200) % 2
    inputs = (draws.normal(size=(200, 5)) + labels[:, None]).astype(np.float32)
    monkeypatch.chdir(here)
    np.savez("mine.npz", inputs=inputs, labels=labels)
    (job,) = prepared(*LINE[:-1])
    net = job.make_model().net
    torch.save(net.state_dict(), "net.pt")
    code, _, err = program(*LINE, "+method=finetune", "method.epochs=1")
    assert code == 0, err
    folder = next(multirun().rglob(RESULT)).parent

    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("STUDY_DATA", "data")
    load, seen = Arrays.load, []
    monkeypatch.setattr(Arrays, "load", lambda self, seed: (seen.append(data_root()), load(self, seed)))
    data, faulty = subject_of(folder)
    assert (Path.cwd(), seen) == (elsewhere, [elsewhere / "data"])
    assert accuracy(faulty, data.splits["test"]) == Result.read(folder).metrics["before/accuracy"]
    assert torch.equal(next(faulty.get_submodule("net").parameters()), next(net.parameters()))
    here.rename(tmp_path / "gone")
    with pytest.raises(UsageError, match=r"mine\.npz: there is no such file"):
        subject_of(folder)
