"""A stored model comes back bit for bit, and nothing that is stored runs foreign code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from study.errors import Damaged
from study.models.lenet5 import LeNet5
from study.models.mlp import MLP
from study.models.votes import SoftVote
from study.storage.checksums import seal
from study.storage.models import check_model, load_model, save_model, weights_hash
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


def test_who_may_read_other_files_may_read_the_weights(tmp_path: Path) -> None:
    save_model(problems.build(), tmp_path)
    assert len({(tmp_path / name).stat().st_mode for name in ("model.json", "repaired.safetensors")}) == 1


def test_a_model_of_several_is_stored_whole(tmp_path: Path) -> None:
    vote = SoftVote(problems.build(), problems.build(), 0.5).eval()
    save_model(vote, tmp_path)
    assert {name.split(".")[0] for name in load_file(tmp_path / "repaired.safetensors")} == {"before", "after"}
    assert torch.equal(logits(load_model(tmp_path)), logits(vote))


def test_a_stored_model_is_checked_where_it_is_sealed(tmp_path: Path) -> None:
    save_model(problems.build(), tmp_path)
    check_model(tmp_path)
    (tmp_path / "other").write_text("x")
    seal(tmp_path)
    (tmp_path / "other").unlink()
    check_model(tmp_path)
    with (tmp_path / "repaired.safetensors").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(Damaged, match=r"repaired\.safetensors is damaged: .*; its job makes it again with force=true"):
        check_model(tmp_path)
