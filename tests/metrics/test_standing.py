"""How right a checkpoint is on the data that it is given, said before anything else."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from study.metrics.standing import suspicion
from study.problem.prediction import accuracy
from study.storage.models import load_model
from study.tracking.result import Result
from tests.commands import prepared, run_job
from tests.data.files import write_photos

MEAN, STD = 0.43, 0.05
QUICK = ("metric=fast", "trainer.threads=1", "trainer.progress=false")


class Brightness(nn.Module):
    """Tells bright pictures from dark ones, if they are normalised as it expects."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[-1.0], [1.0]])[:classes])

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.mean((1, 2, 3))[:, None] @ self.weight.T


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Path) -> list[str]:
    """Two classes of pictures, and a network that was trained on them normalised."""
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "pictures", {"a_dark": 60, "b_bright": 60})
    (tmp_path / "mine" / "architecture").mkdir(parents=True)
    (tmp_path / "mine" / "architecture" / "net.yaml").write_text(f"_target_: {__name__}.Brightness\nclasses: 2")
    save_file(Brightness(2).state_dict(), "net.safetensors")
    return [
        *("--config-dir", "mine", "architecture=net", "faulty.checkpoint=net.safetensors"),
        *("dataset=image_folder", "dataset.root=pictures", *QUICK),
    ]


def test_a_checkpoint_that_gets_other_inputs_than_in_its_training_is_warned_of(
    line: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    _, folder = run_job(*line)
    (warning,) = [record.message for record in caplog.records if "with the largest class" in record.message]
    assert warning.startswith("faulty.checkpoint=net.safetensors: ")
    for setting in ("dataset.size", "dataset.mean", "dataset.std", "dataset.transform"):
        assert setting in warning
    assert Result.read(folder).metrics["before/train_accuracy"] < 0.6


def test_one_that_gets_them_as_it_should_is_not_and_its_accuracies_are_told_first(
    line: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    _, folder = run_job(*line, f"dataset.mean={[MEAN] * 3}", f"dataset.std={[STD] * 3}", "+method=finetune")
    told = [record.message for record in caplog.records]
    assert not any("with the largest class" in text for text in told)
    (first,) = [
        n for n, text in enumerate(told) if text.startswith("net.safetensors: accuracy 1") and "% on test" in text
    ]
    (repairing,) = [n for n, text in enumerate(told) if "repairing" in text]
    assert first < repairing
    metrics = Result.read(folder).metrics
    assert metrics["before/train_accuracy"] > 0.95 and metrics["before/validation_accuracy"] > 0.8
    assert Result.read(folder).properties["train_accuracy"].unit == "rate"


@pytest.mark.parametrize(("rate", "doubted"), [(0.5, True), (0.3, True), (0.74, True), (0.76, False), (1.0, False)])
def test_half_of_the_way_from_the_largest_class_is_the_least(rate: float, doubted: bool) -> None:
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    assert (suspicion(rate, labels) is not None) is doubted


@pytest.mark.usefixtures("store")
def test_the_validation_split_is_there_to_choose_hyperparameters_by() -> None:
    _, folder = run_job("+method=finetune", "method.epochs=1", "faulty.epochs=4", *QUICK)
    metrics = Result.read(folder).metrics
    model = load_model(folder / "artifacts" / "repaired")
    (job,) = prepared("+method=finetune", "method.epochs=1", "faulty.epochs=4", *QUICK)
    job.data.load(0)
    assert metrics["after/validation_accuracy"] == accuracy(model, job.data.splits["validation"])
    assert metrics["before/validation_accuracy"] > 0.3 and "before/train_accuracy" not in metrics
