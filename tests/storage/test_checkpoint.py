"""A user's checkpoint is read without pickle, and holds ordinary tensors of the architecture's kinds and shapes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from study.errors import UsageError
from study.storage.checkpoint import load_checkpoint


def test_checkpoints_of_every_plain_kind(tmp_path: Path) -> None:
    state = {"weight": torch.rand(2, 3), "bias": torch.rand(2)}
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pt")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "c.ckpt")
    for file in tmp_path.iterdir():
        loaded = load_checkpoint(file)
        assert loaded.keys() == state.keys()
        assert all(torch.equal(loaded[name], state[name]) for name in state)


@pytest.mark.parametrize("key", ["model", "model_state_dict", "net"])
def test_the_one_state_dict_of_a_training_loop_is_taken(tmp_path: Path, key: str) -> None:
    net = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.rand(1, 3)).sum().backward()
    optimizer.step()
    torch.save({"epoch": 3, key: net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "a.pt")
    loaded = load_checkpoint(tmp_path / "a.pt")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in net.state_dict().items())
    assert loaded.keys() == net.state_dict().keys()


def test_of_several_state_dicts_none_is_guessed(tmp_path: Path) -> None:
    state = nn.Linear(3, 2).state_dict()
    torch.save({"model": state, "ema": state}, tmp_path / "a.pt")
    with pytest.raises(UsageError, match=r"several state dicts \(model, ema\); .*checkpoint\['model'\]"):
        load_checkpoint(tmp_path / "a.pt")
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}}, tmp_path / "b.pt")
    with pytest.raises(UsageError, match="holds no state dict .*; its keys are epoch, optimizer"):
        load_checkpoint(tmp_path / "b.pt")
    torch.save({"state_dict": state, "ema": {"weight": torch.zeros(2, 3)}}, tmp_path / "c.pt")
    assert load_checkpoint(tmp_path / "c.pt").keys() == state.keys()


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
    with pytest.raises(UsageError, match=f"faulty.checkpoint={tmp_path}: is a folder; name the file in it"):
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


UNUSUAL: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "sparse": (Tensor.to_sparse, "is a sparse tensor"),
    "csr": (Tensor.to_sparse_csr, "is a sparse tensor"),
    "quantised": (lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8), "is a quantised tensor"),
    "meta": (lambda tensor: tensor.to("meta"), "has no values"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", UNUSUAL)
def test_a_tensor_that_is_not_an_ordinary_one_is_named(tmp_path: Path, kind: str) -> None:
    make, told = UNUSUAL[kind]
    path = tmp_path / "a.pt"
    torch.save({"bias": torch.rand(2), "weight": make(torch.rand(3, 4))}, path)
    with pytest.raises(UsageError, match=f"faulty.checkpoint={path}: weight {told}"):
        load_checkpoint(path)


def test_numbers_are_no_names(tmp_path: Path) -> None:
    torch.save({0: torch.rand(2)}, tmp_path / "a.pt")
    with pytest.raises(UsageError, match="holds no state dict"):
        load_checkpoint(tmp_path / "a.pt")


def test_torch_s_advice_to_open_it_all_the_same_is_not_passed_on(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pt")
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "script.pt")  # type: ignore[no-untyped-call]
    (tmp_path / "new.pt").write_bytes(pickle.dumps({"bomb": Bomb(tmp_path / "trace")}))
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"bomb": Bomb(tmp_path / "trace")}, protocol=2))
    for path in tmp_path.glob("*.pt"):
        with pytest.raises(UsageError) as refusal:
            load_checkpoint(path)
        assert "weights_only" not in str(refusal.value) and "\n" not in str(refusal.value)
        assert "store it by torch.save(model.state_dict(), FILE)" in str(refusal.value)
    with pytest.raises(UsageError, match=r"it holds torch\.nn\.modules\.linear\.Linear, which is no tensor"):
        load_checkpoint(tmp_path / "whole.pt")
