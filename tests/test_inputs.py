"""Inputs that are no images: rows of a table with a mean and a deviation, and token ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from study.data.module import SPLITS, DataModule
from study.data.source import Source, Tensors
from study.tracking.result import Result
from tests.commands import prepared, run_job

RECIPE = {"epochs": 4, "optimizer": "adam", "lr": 1e-2, "batch_size": 64, "augmentation": "none"}
MINE = ("--config-dir", "mine")
QUICK = ("trainer.threads=1", "trainer.progress=false", "metric=all", "faulty.epochs=2")


class Flattened(DataModule):
    """Digits as rows of 64 columns with a mean and a deviation each."""

    name = "flattened"
    kind = "table"
    input_shape = (64,)
    recipe: ClassVar[Mapping[str, Any]] = RECIPE
    mean = [0.3] * 64
    std = [0.4] * 64

    def __init__(self, *, epsilon: float | None = None) -> None:
        super().__init__(root=None, limit=None, epsilon=epsilon)

    @property
    def class_names(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    def check(self) -> None:
        """Nothing can be missing."""

    def read(self) -> Source:
        data = load_digits()
        return Tensors(torch.tensor(data.data / 16).float(), torch.tensor(data.target))

    def divide(self, source: Source, generator: torch.Generator) -> dict[str, Tensor]:
        order = torch.randperm(len(source.labels), generator=generator)
        return dict(zip(SPLITS, order.split([800, 197, 400, 400]), strict=True))


class Words(Flattened):
    """Digits as sequences of 64 tokens of a vocabulary of 17 grey levels."""

    name = "words"
    kind = "tokens"
    mean = None  # type: ignore[assignment]
    std = None  # type: ignore[assignment]

    def read(self) -> Source:
        data = load_digits()
        return Tensors(torch.tensor(data.data).long(), torch.tensor(data.target))


class Reader(nn.Module):
    """Embeds tokens and classifies their concatenation."""

    def __init__(self, *, num_classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(17, 8)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, num_classes))

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.embedding(tokens))
        return logits


CONF = {
    "dataset/flattened": "_target_: tests.test_inputs.Flattened\nepsilon: null",
    "dataset/words": "_target_: tests.test_inputs.Words\nepsilon: null",
    "architecture/default_flattened": "defaults: [mlp]",
    "architecture/default_words": "_target_: tests.test_inputs.Reader\nnum_classes: auto",
}


@pytest.fixture(autouse=True)
def subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration of the user's own."""
    for name, text in CONF.items():
        file = tmp_path / "mine" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.chdir(tmp_path)


METHODS = ("finetune", "joint", "arachne", "apricot", "reassure", "hudd", "editable_training")
SMALL = {
    "arachne": ("method.generations=5", "method.population=20"),
    "apricot": ("method.sub_epochs=1", "method.max_rounds=2"),
    "editable_training": ("method.epochs=1",),
    "joint": ("method.epochs=2",),
    "hudd": ("method.epochs=1",),
    "finetune": ("method.epochs=1",),
}


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("kind", ["flattened", "words"])
@pytest.mark.parametrize("method", METHODS)
def test_approaches_that_do_not_need_images_run(kind: str, method: str) -> None:
    outcome, folder = run_job(
        "--config-dir", "mine", f"+method={method}", f"dataset={kind}", *QUICK, *SMALL.get(method, ())
    )
    result = Result.read(folder)
    assert outcome in ("repaired", "failure"), result.tags
    assert result.metrics["before/accuracy"] > 0.3
    assert {"attack_success_rate", "margin_attack_success_rate"} <= result.not_applicable.keys()


@pytest.mark.usefixtures("store")
def test_a_table_with_a_radius_is_attacked() -> None:
    _, folder = run_job(
        "--config-dir",
        "mine",
        "+method=finetune",
        "method.epochs=1",
        "dataset=flattened",
        *QUICK,
        "dataset.epsilon=0.1",
    )
    assert 0 < Result.read(folder).metrics["after/attack_success_rate"] <= 1


@pytest.mark.parametrize("method", ["fsgmix", "deeprepair", "hybridrepair"])
def test_what_needs_images_says_so(method: str) -> None:
    for kind in ("flattened", "words"):
        (job,) = prepared(*MINE, f"+method={method}", f"dataset={kind}", *QUICK)
        assert "images" in (job.obstacle or "")
