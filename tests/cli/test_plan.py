"""Listing the jobs of a command line."""

from __future__ import annotations

import pytest

from study.cli.plan import show
from study.config.job import prepare_all
from study.config.keys import Keys
from study.data.digits import Digits
from study.data.module import DataModule
from tests.commands import FAST, compositions


def test_a_plan_loads_each_split_once_and_keeps_no_items(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ("-m", "+method=finetune,arachne", "seed=0,1", *FAST)
    apart = prepare_all(compositions(*line))
    for job in apart:
        job.data.load(job.settings.subject.seed)
    keys = [Keys.of(job).job for job in apart]

    loaded: list[DataModule] = []
    load = Digits.load

    def noted(data: Digits, seed: int) -> None:
        loaded.append(data)
        load(data, seed)

    monkeypatch.setattr(Digits, "load", noted)
    capsys.readouterr()
    show(prepare_all(compositions(*line)))
    assert [text.split()[0] for text in capsys.readouterr().out.splitlines()] == keys
    assert len(loaded) == 2 and not any(data.splits or data.indices for data in loaded)
