"""Any network of timm: what it is asked for, what of it is refused, and the real one as a subject."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from study.errors import UsageError
from study.models import timm_network
from study.models.timm_network import TimmNetwork
from study.problem.faulty import FaultySource
from study.storage.models import load_model, save_model
from tests.commands import prepared
from tests.data.files import write_photos

INPUTS: dict[str, Any] = {"input_shape": (1, 20, 24), "num_classes": 3}


@dataclasses.dataclass
class Settings:
    """What timm records of a network."""

    fixed_input_size: bool
    hf_hub_id: str | None = None


class FakeTimm(ModuleType):
    """The functions of timm that are used, with what they were called with."""

    def __init__(self) -> None:
        super().__init__("timm")
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.cfgs = {"convolutions": Settings(False), "patches": Settings(True), "unrecorded": None}

    def is_model(self, name: str) -> bool:
        return name in self.cfgs

    def list_models(self) -> list[str]:
        return sorted(self.cfgs)

    def get_pretrained_cfg(self, name: str) -> Settings | None:
        return self.cfgs[name]

    def create_model(self, name: str, **settings: Any) -> nn.Module:
        self.asked.append((name, settings))
        if settings.get("drop_rate") == 2:
            raise AssertionError("dropout probability has to be between 0 and 1\nmore")
        return nn.Sequential(nn.Conv2d(settings["in_chans"], 4, 3), nn.ReLU(inplace=True))


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> FakeTimm:
    fake = FakeTimm()
    monkeypatch.setitem(sys.modules, "timm", fake)
    return fake


def test_classes_channels_and_size_are_passed_on(timm: FakeTimm) -> None:
    net = TimmNetwork(name="convolutions", **INPUTS)
    TimmNetwork(name="patches", pretrained=True, arguments={"drop_rate": 0.1}, **INPUTS)
    TimmNetwork(name="patches", arguments={"img_size": 64}, **INPUTS)
    TimmNetwork(name="unrecorded", **INPUTS)
    common = {"pretrained": False, "num_classes": 3, "in_chans": 1}
    assert timm.asked == [
        ("convolutions", common),
        ("patches", common | {"pretrained": True, "drop_rate": 0.1, "img_size": (20, 24)}),
        ("patches", common | {"img_size": 64}),
        ("unrecorded", common),
    ]
    assert type(net) is nn.Sequential
    assert not net.get_submodule("1").inplace


def test_what_cannot_be_made_is_refused_in_a_sentence(timm: FakeTimm) -> None:
    with pytest.raises(UsageError, match=r"architecture.name=patchs: timm has no network .* did you mean patches\?"):
        TimmNetwork(name="patchs", **INPUTS)
    with pytest.raises(UsageError, match=r"name=patches: timm cannot make .* of shape 1x20x24: dropout .* 0 and 1$"):
        TimmNetwork(name="patches", arguments={"drop_rate": 2}, **INPUTS)
    with pytest.raises(UsageError, match="architecture=timm takes images .* not inputs of shape 30"):
        TimmNetwork(name="patches", input_shape=(30,), num_classes=2)


def test_weights_of_a_hub_that_does_not_answer_are_refused_unless_they_are_there(
    timm: FakeTimm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    asked: list[tuple[str, str]] = []
    silence: list[str | None] = ["no route", None]

    def ask(place: str, file: str) -> str | None:
        asked.append((place, file))
        return silence.pop(0)

    monkeypatch.setattr(timm_network, "hub_silence", ask)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    timm.cfgs["convolutions"] = Settings(False, "timm/convolutions.first@v1")
    with pytest.raises(
        UsageError,
        match=r"^architecture.pretrained=true: the weights of convolutions .*co/timm/convolutions.first does not "
        r"answer \(no route\); set architecture.pretrained=false and faulty.checkpoint=FILE",
    ):
        TimmNetwork(name="convolutions", pretrained=True, **INPUTS)
    assert not timm.asked, "timm would try for a minute"
    TimmNetwork(name="convolutions", pretrained=True, **INPUTS)  # the hub answers
    assert asked == [("timm/convolutions.first", "model.safetensors")] * 2
    stored = tmp_path / "models--timm--convolutions.first" / "snapshots" / "0" / "pytorch_model.bin"
    stored.parent.mkdir(parents=True)
    stored.touch()
    (stored.parents[2] / "refs").mkdir()
    (stored.parents[2] / "refs" / "v1").write_text("0")
    TimmNetwork(name="convolutions", pretrained=True, **INPUTS)
    TimmNetwork(name="convolutions", **INPUTS)
    assert len(asked) == 2 and len(timm.asked) == 3


def test_without_timm_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        UsageError, match=r"architecture=timm: timm is not installed: pip install 'repair-study\[timm\]"
    ):
        prepared("architecture=timm")


def test_a_value_that_cannot_be_is_refused_by_its_setting(timm: FakeTimm) -> None:
    with pytest.raises(UsageError, match=r"architecture\.pretrained=maybe"):
        prepared("architecture=timm", "architecture.name=convolutions", "architecture.pretrained=maybe")


def test_a_users_checkpoint_of_a_real_one_fits_and_is_stored_under_timms_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm = pytest.importorskip("timm")
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "pictures", {"cat": 8, "dog": 8})
    torch.manual_seed(0)
    mine = timm.create_model("test_vit", num_classes=2, img_size=(32, 32)).eval()
    save_file(mine.state_dict(), tmp_path / "mine.safetensors")
    data = ("dataset=image_folder", "dataset.root=pictures", "dataset.size=[32,32]")
    line = ("architecture=timm", "architecture.name=test_vit", "faulty.checkpoint=mine.safetensors", *data)
    (job,) = prepared(*line)
    job.data.load(0)
    source = FaultySource(job.make_model, job.recipe, 0, job.hardware)
    faulty = source.load(tmp_path / "none", job.data.splits["train"], job.data.splits["validation"])
    save_model(faulty.model, tmp_path)
    example = job.task.example(2)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path)(example), faulty.model(example))
    again = timm.create_model("test_vit", num_classes=2, img_size=(32, 32)).eval()
    again.load_state_dict(load_file(tmp_path / "repaired.safetensors"), strict=True)
    with torch.no_grad():
        normalised = faulty.model.get_submodule("normalise")(example)
        assert torch.equal(again(normalised), mine(normalised))
        assert torch.equal(again(normalised), faulty.model(example))
