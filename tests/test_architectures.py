"""Networks of a user's own, of every kind: repaired, stored, read back by another job, and loaded into their class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from study.errors import UsageError
from study.storage.models import load_model
from study.tracking.result import Result
from tests.commands import prepared, run_job
from tests.data.files import write_photos

QUICK = ("trainer.threads=1", "trainer.progress=false", "faulty.epochs=2", "method.epochs=1")


class Functional(nn.Module):
    """Parameters and functions, no layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(32, 64) / 8)
        self.head = nn.Parameter(torch.randn(classes, 32) / 6)

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(functional.relu(functional.linear(inputs.flatten(1), self.weight)), self.head)


class Lazy(nn.Sequential):
    """Layers that take their shape from the first input."""

    def __init__(self, classes: int) -> None:
        super().__init__(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(classes))


class Tied(nn.Module):
    """Two layers that share one matrix."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
        self.second.weight = self.first.weight
        self.last = nn.Linear(64, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = functional.relu(self.second(functional.relu(self.first(inputs.flatten(1)))))
        logits: Tensor = self.last(hidden)
        return logits


class Fusing(nn.Module):
    """Two factors while it is trained, their product, a buffer, in eval mode."""

    product: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.randn(classes, 16) / 4)
        self.right = nn.Parameter(torch.randn(16, 64) / 8)

    def train(self, mode: bool = True) -> Fusing:
        super().train(mode)
        if mode and hasattr(self, "product"):
            del self.product
        elif not mode:
            self.register_buffer("product", (self.left @ self.right).detach())
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs.flatten(1), self.left @ self.right if self.training else self.product)


class Reader(nn.Module):
    """Embeds tokens and classifies their mean."""

    def __init__(self, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(vocabulary, 8), nn.Linear(8, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.embedding(tokens).mean(1))
        return logits


def make_net(classes: int, *, layers: list[nn.Module], act: type[nn.Module]) -> nn.Module:
    """A factory whose arguments are modules and a class."""
    return nn.Sequential(nn.Flatten(), *layers, act(), nn.LazyLinear(classes))


@dataclass(frozen=True)
class Case:
    """An architecture's configuration, and a call that makes the same network without this package."""

    yaml: str
    make: Callable[[], nn.Module]
    dataset: tuple[str, ...] = ()


def _timm() -> nn.Module:
    import timm

    return timm.create_model("test_vit", num_classes=2, img_size=32)


PICTURES = ("dataset=image_folder", "dataset.root=pictures", "dataset.size=[32,32]")
HERE = __name__
CASES = {
    "torchvision": Case(
        "_target_: torchvision.models.shufflenet_v2_x0_5\nnum_classes: auto",
        lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=2),
        PICTURES,
    ),
    "timm": Case("_target_: timm.create_model\nmodel_name: test_vit\nimg_size: 32\nnum_classes: auto", _timm, PICTURES),
    "functional": Case(f"_target_: {HERE}.Functional\nclasses: 10", lambda: Functional(10)),
    "lazy": Case(f"_target_: {HERE}.Lazy\nclasses: 10", lambda: Lazy(10)),
    "tied": Case(f"_target_: {HERE}.Tied\nclasses: 10", lambda: Tied(10)),
    "fusing": Case(f"_target_: {HERE}.Fusing\nclasses: 10", lambda: Fusing(10).eval()),
    "text": Case(
        f"_target_: {HERE}.Reader\nvocabulary: 9\nclasses: 2",
        lambda: Reader(9, 2),
        ("dataset=tokens", "dataset.file=words.npz", "method.epochs=30"),
    ),
    "table": Case(
        "_target_: torchvision.ops.MLP\nin_channels: 5\nhidden_channels: [8, 2]",
        lambda: torchvision.ops.MLP(5, [8, 2]),
        ("dataset=arrays", "dataset.file=rows.npz", "dataset.mean=null", "dataset.std=null", "method.epochs=30"),
    ),
    "factory": Case(
        f"_target_: {HERE}.make_net\nclasses: 10\nlayers:\n"
        "- {_target_: torch.nn.Linear, in_features: 64, out_features: 16}\n"
        "act: {_target_: hydra.utils.get_class, path: torch.nn.Tanh}",
        lambda: make_net(10, layers=[nn.Linear(64, 16)], act=nn.Tanh),
    ),
}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Path) -> Path:
    """A configuration folder, and two classes of pictures, words and rows."""
    (tmp_path / "mine" / "architecture").mkdir(parents=True)
    write_photos(tmp_path / "pictures", {"cat": 40, "dog": 40})
    monkeypatch.chdir(tmp_path)
    draws, labels = np.random.default_rng(0), np.arange(80) % 2
    np.savez("words.npz", tokens=draws.integers(0, 6, (80, 6)) + 3 * labels[:, None], labels=labels)
    np.savez("rows.npz", inputs=(draws.normal(size=(80, 5)) + labels[:, None]).astype(np.float32), labels=labels)
    return tmp_path / "mine" / "architecture"


@pytest.mark.parametrize("name", CASES)
def test_any_callable_that_returns_a_module_is_an_architecture(name: str, mine: Path) -> None:
    if name == "timm":
        pytest.importorskip("timm")
    case = CASES[name]
    (mine / "net.yaml").write_text(case.yaml)
    line = ("--config-dir", "mine", "+method=finetune", "architecture=net", *QUICK, *case.dataset)
    outcome, first = run_job(*line, "metric=all", name="first")
    result = Result.read(first)
    assert outcome == "repaired", result.tags
    again, second = run_job(*line, "metric=fast", name="second")  # reads the repair that is stored
    assert again == outcome
    assert Result.read(second).metrics["after/accuracy"] == result.metrics["after/accuracy"]
    stored = second / "artifacts" / "repaired"
    net = case.make()
    net.load_state_dict(load_file(stored / "repaired.safetensors"), strict=True)
    (job,) = prepared(*line)
    model = load_model(stored, job.own_classes)
    example = job.task.example(3)
    with torch.no_grad():
        assert torch.equal(net.eval()(example), model(example))


def test_what_makes_no_module_is_refused_in_a_sentence(mine: Path) -> None:
    (mine / "net.yaml").write_text("_target_: builtins.dict\nclasses: 10")
    with pytest.raises(UsageError, match=r"architecture\._target_=builtins\.dict: makes no torch\.nn\.Module"):
        prepared("--config-dir", "mine", "architecture=net")
