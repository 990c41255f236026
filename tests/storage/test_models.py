"""A stored model comes back bit for bit, and nothing that is stored runs foreign code."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from study.errors import UsageError
from study.models.lenet5 import LeNet5
from study.storage.models import Blueprint, from_blueprint, load_checkpoint, load_model, save_model, weights_hash
from tests import problems


def run(code: str, *arguments: object) -> str:
    """Standard output of a fresh Python process."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_the_weights_hash_sees_every_tensor_and_its_name() -> None:
    model = problems.build(batch_norm=True)
    seen = {weights_hash(model)}
    for tensor in model.state_dict().values():
        tensor.view(-1)[-1] += 1
        seen.add(weights_hash(model))
    assert len(seen) == len(model.state_dict()) + 1
    assert weights_hash(model.net) not in seen


def test_the_weights_hash_does_not_depend_on_the_layout_in_memory() -> None:
    net = LeNet5(input_shape=(3, 28, 28), num_classes=10)
    before = weights_hash(net)
    assert weights_hash(net.to(memory_format=torch.contiguous_format)) == before


class Outsider(nn.Linear):
    """A class that is not of the package."""


OUTSIDER: Blueprint = {"class": f"{__name__}.Outsider", "arguments": {"in_features": 2, "out_features": 1}}


def test_a_foreign_class_is_built_only_where_it_is_allowed() -> None:
    with pytest.raises(UsageError, match=r"names the class .*Outsider"):
        from_blueprint(OUTSIDER)
    module = from_blueprint(OUTSIDER, allowed={OUTSIDER["class"]})
    assert type(module).__name__ == "Outsider"
    assert module.blueprint == OUTSIDER


@pytest.mark.parametrize("name", ["os.system", "torch.nn.Linear", "studying.Net", "study"])
def test_other_packages_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="neither of this package"):
        from_blueprint({"class": name, "arguments": {}})


@pytest.mark.parametrize(
    "name", ["study.storage.models.Path", "study.storage.models.load_model", "study.storage.models.json"]
)
def test_what_is_no_module_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a torch module"):
        from_blueprint({"class": name, "arguments": {}})


@pytest.mark.parametrize("name", ["study.storage.models.Gone", "study.gone.Net", "study.storage.models.os.system"])
def test_a_class_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        from_blueprint({"class": name, "arguments": {}})


def test_nested_blueprints_are_held_to_the_same_rule() -> None:
    with pytest.raises(UsageError, match="Outsider"):
        from_blueprint({"class": "study.models.classifier.Classifier", "arguments": {"net": OUTSIDER}})


def test_a_module_without_a_blueprint_cannot_be_stored(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Linear cannot be stored"):
        save_model(nn.Linear(2, 2), tmp_path)


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        result: Tensor = model.eval()(torch.linspace(0, 1, 64 * 5).view(5, 1, 8, 8))
    return result


LOAD = """
import sys, torch
from pathlib import Path
from study.storage.models import load_model
torch.set_num_threads(1)
with torch.no_grad():
    logits = load_model(Path(sys.argv[1]))(torch.linspace(0, 1, 64 * 5).view(5, 1, 8, 8))
print(logits.numpy().tobytes().hex())
"""


def test_a_model_comes_back_bit_for_bit(tmp_path: Path) -> None:
    model = problems.digits_problem(batch_norm=True).faulty
    save_model(model, tmp_path)
    expected = logits(model)
    loaded = load_model(tmp_path)
    assert not any(module.training for module in loaded.modules())
    assert torch.equal(logits(loaded), expected)
    assert weights_hash(loaded) == weights_hash(model)
    assert run(LOAD, tmp_path).strip() == expected.numpy().tobytes().hex()


def test_a_stored_model_names_nothing_but_classes_and_json_values(tmp_path: Path) -> None:
    save_model(problems.build(), tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["model.json", "model.safetensors"]
    blueprint = json.loads((tmp_path / "model.json").read_text())
    assert blueprint["arguments"]["net"]["class"] == "study.models.mlp.MLP"


def test_checkpoints_of_every_plain_kind(tmp_path: Path) -> None:
    state = {"weight": torch.rand(2, 3), "bias": torch.rand(2)}
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pt")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "c.ckpt")
    for file in tmp_path.iterdir():
        loaded = load_checkpoint(file)
        assert loaded.keys() == state.keys()
        assert all(torch.equal(loaded[name], state[name]) for name in state)


class Bomb:
    """Leaves a trace if it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("by_torch", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path, by_torch: bool) -> None:
    path, trace = tmp_path / "bomb.pt", tmp_path / "trace"
    content = {"weight": torch.rand(2), "bomb": Bomb(trace)}
    if by_torch:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(UsageError, match="pickles that could run code are not opened") as refusal:
        load_checkpoint(path)
    assert "\n" not in str(refusal.value)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Bomb(trace)))
    assert trace.exists()


def test_checkpoints_that_hold_nothing_usable_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"faulty.checkpoint=.*none.pt: there is no such file"):
        load_checkpoint(tmp_path / "none.pt")
    with pytest.raises(UsageError, match="there is no such file"):
        load_checkpoint(tmp_path)
    save_file({"weight": torch.rand(100)}, tmp_path / "cut.safetensors")
    whole = (tmp_path / "cut.safetensors").read_bytes()
    for size in (0, 5, len(whole) - 1):
        (tmp_path / "cut.safetensors").write_bytes(whole[:size])
        with pytest.raises(UsageError, match="neither a safetensors file nor a plain state dict"):
            load_checkpoint(tmp_path / "cut.safetensors")
    for content in ({}, [torch.rand(2)], {"epoch": 3}, torch.rand(2)):
        torch.save(content, tmp_path / "odd.pt")
        with pytest.raises(UsageError, match="holds no state dict"):
            load_checkpoint(tmp_path / "odd.pt")
