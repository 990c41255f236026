import copy

import pytest
import torch
from torch import Tensor, nn

from study.data.split import Split
from study.parts.network import tails
from study.parts.network.layers import weighted_layers
from study.parts.network.tails import Tails
from tests.networks import Plain, TinyNet
from tests.problems import digits_splits

INDICES = torch.arange(3, 90)


class Residual(nn.Module):
    """The network cannot be cut at `inner`, which a connection passes by."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, stride=2)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.out = nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        features = torch.relu(self.conv(inputs))
        logits: Tensor = self.out((features + self.inner(features)).flatten(1))
        return logits


def made(kind: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "convolutions":
            return TinyNet(input_shape=(1, 8, 8), num_classes=10).eval()
        return (Residual() if kind == "residual" else Plain()).eval()


def whole(model: nn.Module, changed: dict[str, Tensor], split: Split) -> Tensor:
    """The changed network, run whole."""
    other = copy.deepcopy(model)
    for name, value in changed.items():
        other.get_parameter(name).data.copy_(value)
    with torch.no_grad():
        return other(split.inputs[INDICES])  # type: ignore[no-any-return, index]


def mutants(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """For each layer a network that differs from it on."""
    names = weighted_layers(model, torch.zeros(2, 1, 8, 8))
    weights = {name: model.get_parameter(f"{name}.weight").detach() for name in names}
    noise = torch.Generator().manual_seed(1)
    return {
        first: {
            f"{name}.weight": weights[name] + 0.3 * torch.randn(weights[name].shape, generator=noise)
            for name in names[names.index(first) :]
        }
        for first in names
    }


@pytest.mark.parametrize("kind", ["convolutions", "residual", "untraceable"])
@pytest.mark.parametrize("room", [0, 87 * 80, 2**20], ids=["nothing_kept", "little_kept", "all_kept"])
def test_a_changed_end_gives_the_logits_of_the_changed_network(
    kind: str, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tails.KEPT, "cpu", room)
    model, split = made(kind), digits_splits()["repair"]
    ends = Tails(model, split, INDICES)
    assert len(ends) == len(INDICES)
    plain = whole(model, {}, split)
    for first, changed in mutants(model).items():
        expected = whole(model, changed, split)
        assert not torch.allclose(expected, plain)
        torch.testing.assert_close(ends.logits(first, changed), expected)
        torch.testing.assert_close(ends.logits(first, changed, slice(5, 20)), expected[5:20])
        torch.testing.assert_close(ends.logits(first, {}), plain)


def test_passes_are_cut_to_fit_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, split = made("convolutions"), digits_splits()["repair"]
    changed = mutants(model)
    at_once = Tails(model, split, INDICES).logits("features.0", changed["features.0"])
    monkeypatch.setattr(tails, "block_size", lambda _: 8 * 6 * 6 * 10)
    sizes: list[int] = []
    ends = Tails(model, split, INDICES)
    original = tails.functional_call

    def watched(module: nn.Module, parameters: dict[str, Tensor], inputs: tuple[Tensor]) -> Tensor:
        sizes.append(len(inputs[0]))
        return original(module, parameters, inputs)  # type: ignore[no-any-return]

    monkeypatch.setattr(tails, "functional_call", watched)
    torch.testing.assert_close(ends.logits("features.0", changed["features.0"]), at_once)
    assert sizes == [10] * 8 + [7]


def test_early_layers_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, split = made("convolutions"), digits_splits()["repair"]
    ends = Tails(model, split, INDICES)
    ends.logits("head.0", {})
    changed, runs = mutants(model), list[int]()
    model.get_submodule("features.0").register_forward_hook(lambda *_: runs.append(1))
    ends.logits("head.0", changed["head.0"])
    ends.logits("head.0", {}, slice(0, 3))
    assert not runs
    ends.logits("features.0", {})
    assert runs
