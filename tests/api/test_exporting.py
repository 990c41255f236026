"""Exporting leaves the caller's network as it is, and refuses a wrong example in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import study
from study.errors import UsageError


class Moved(nn.Module):
    """Knows whether it was moved to another device."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(4, 2), nn.Dropout())
        self.moves: list[str] = []

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs)  # type: ignore[no-any-return]

    def cpu(self) -> Moved:
        self.moves.append("cpu")
        return super().cpu()


def test_the_network_keeps_its_mode_and_its_device(tmp_path: Path) -> None:
    net = Moved().train()
    net.layer[1].eval()
    study.export(net, tmp_path / "net.pt2", torch.rand(3, 4))
    assert net.training and net.layer.training and not net.layer[1].training
    assert net.moves == []


@pytest.mark.parametrize("ending", ["pt2", "onnx"])
def test_an_example_of_another_shape_is_refused_and_torch_is_silent(
    tmp_path: Path, ending: str, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxscript")
    with pytest.raises(UsageError, match="export: Linear cannot take inputs of shape 3x5: ") as refusal:
        study.export(nn.Linear(4, 2), tmp_path / f"net.{ending}", torch.rand(3, 5))
    assert "\n" not in str(refusal.value) and not list(tmp_path.iterdir())
    assert capfd.readouterr().err == ""


def test_what_is_no_network_and_no_example_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"give the network, a torch\.nn\.Module"):
        study.export(nn.Linear(4, 2).state_dict(), tmp_path / "net.pt2", torch.rand(3, 4))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="give a batch of inputs"):
        study.export(nn.Linear(4, 2), tmp_path / "net.pt2", [1.0] * 4)  # type: ignore[arg-type]


def test_a_file_of_weights_is_not_what_load_reads(tmp_path: Path) -> None:
    torch.save(nn.Linear(4, 2).state_dict(), tmp_path / "net.pt")
    with pytest.raises(UsageError, match=r"net\.pt: is a file, .*net\.load_state_dict, .*faulty\.checkpoint"):
        study.load(tmp_path / "net.pt")
    with pytest.raises(UsageError, match="give a job's folder"):
        study.load(None)  # type: ignore[arg-type]
