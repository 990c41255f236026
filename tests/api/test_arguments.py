"""A mistake in an argument of `study.repair` and its like is told in one sentence."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import study
from study.api.arguments import check_network, hardware_of, seed_of
from study.errors import UsageError
from study.methods.model_level.finetune import Finetune

INPUTS = torch.rand(60, 5, generator=torch.Generator().manual_seed(0))
LABELS = (INPUTS[:, 0] > 0.5).long()


@pytest.mark.parametrize("device", ["tpu", "cuda:0", None, 0])
def test_a_device_that_is_not_known_is_refused(device: Any) -> None:
    with pytest.raises(UsageError, match=f"device={device}: should be gpu or cpu"):
        hardware_of(device, False)


def test_a_device_that_is_known_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hardware_of(torch.device("cpu"), "auto").accelerator == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert hardware_of("gpu", True).accelerator == hardware_of("cuda", False).accelerator == "gpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="device=gpu: torch sees no GPU on this machine"):
        hardware_of("gpu", True)


def test_progress_is_a_truth_value_or_auto() -> None:
    with pytest.raises(UsageError, match="progress=no: should be True, False or auto"):
        hardware_of("cpu", "no")


@pytest.mark.parametrize(
    ("seed", "right"), [("a", "a whole number"), (1.5, "a whole number"), (-1, "at least 0"), (2**32, "less than")]
)
def test_a_seed_that_is_none_is_refused(seed: Any, right: str) -> None:
    with pytest.raises(UsageError, match=f"seed={seed}: should be {right}"):
        seed_of(seed)


def test_a_seed_may_be_of_any_kind_of_whole_number() -> None:
    assert seed_of(3) == seed_of(np.int64(3)) == seed_of(torch.tensor(3)) == 3


@pytest.mark.parametrize("model", [Path("net.pt"), "net.pt", OrderedDict(a=INPUTS), None, nn.Linear])
def test_what_is_no_network_is_refused(model: Any) -> None:
    told = r"before is .*: give the network, a torch\.nn\.Module \(a state dict goes in by net\.load_state_dict\)"
    with pytest.raises(UsageError, match=told):
        check_network(model, "before")


NET = nn.Linear(5, 2)
CALLS: dict[str, Any] = {
    "device=tpu": lambda data: study.repair(NET, data, device="tpu"),
    "seed=-1": lambda data: study.repair(NET, data, seed=-1),
    "progress=no": lambda data: study.repair(NET, data, progress="no"),  # type: ignore[arg-type]
    "model is net.pt": lambda data: study.repair("net.pt", data),  # type: ignore[arg-type]
    "device=cuda:1": lambda data: study.evaluate(NET, NET, data, device="cuda:1"),
    "seed=a": lambda data: study.evaluate(NET, NET, data, seed="a"),  # type: ignore[arg-type]
    "after is of type OrderedDict": lambda data: study.evaluate(NET, NET.state_dict(), data),  # type: ignore[arg-type]
    "method=Finetune: is a class; give an object of it": lambda data: study.repair(NET, data, Finetune),  # type: ignore[arg-type]
    "method=None: should be the name of a method": lambda data: study.repair(NET, data, None),  # type: ignore[arg-type]
    "metric=None: should be": lambda data: study.evaluate(NET, NET, data, metric=None),  # type: ignore[arg-type]
    "safeguard=3: should be": lambda data: study.repair(NET, data, "finetune", safeguard=3),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("sentence", CALLS)
def test_every_argument_is_looked_at(sentence: str) -> None:
    with pytest.raises(UsageError, match=f"^{sentence}"):
        CALLS[sentence]((INPUTS, LABELS))
