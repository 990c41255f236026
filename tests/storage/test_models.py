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
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from study.errors import UsageError
from study.models.lenet5 import LeNet5
from study.models.mlp import MLP
from study.models.votes import SoftVote
from study.storage.models import load_checkpoint, load_model, save_model, weights_hash
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
    assert sorted(os.listdir(tmp_path)) == ["model.json", "repaired.safetensors"]
    blueprint = json.loads((tmp_path / "model.json").read_text())
    assert blueprint["arguments"]["net"]["class"] == "study.models.mlp.MLP"


def test_the_weights_load_into_the_networks_own_class(tmp_path: Path) -> None:
    model = problems.build(batch_norm=True)
    save_model(model, tmp_path)
    twin = MLP(input_shape=(1, 8, 8), num_classes=10, batch_norm=True)
    twin.load_state_dict(load_file(tmp_path / "repaired.safetensors"), strict=True)
    assert weights_hash(twin) == weights_hash(model.net)


def test_a_model_of_several_is_stored_whole(tmp_path: Path) -> None:
    vote = SoftVote(problems.build(), problems.build(), 0.5).eval()
    save_model(vote, tmp_path)
    assert {name.split(".")[0] for name in load_file(tmp_path / "repaired.safetensors")} == {"before", "after"}
    assert torch.equal(logits(load_model(tmp_path)), logits(vote))


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
