"""Pictures, tables, texts and arrays of one's own, from the command line to the result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from study.errors import UsageError
from study.tracking.result import Result
from tests.commands import prepared, run_job

QUICK = ("trainer.threads=1", "trainer.progress=false", "faulty.epochs=3")
COUNT = 120


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the user stands in."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def pictures(folder: Path) -> None:
    noise = np.random.default_rng(0)
    for place, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for number in range(COUNT // 2):
            pixels = noise.integers(0, 150, (20, 24, 3)) + 60 * place * noise.integers(0, 2)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")


def people(file: Path) -> None:
    noise, number = np.random.default_rng(0), np.arange(COUNT)
    rich = (number + noise.integers(0, 40, COUNT)) % 2 == 0
    frame = pd.DataFrame({"id": [f"p{n}" for n in number], "age": 20 + number % 50 + 9 * rich})
    frame["sex"] = np.array(["m", "f"])[noise.integers(0, 2, COUNT)]
    frame["income"] = np.array(["low", "high"])[rich.astype(int)]
    frame.to_csv(file, index=False)


def reviews(file: Path) -> None:
    noise = np.random.default_rng(0)
    lines = []
    for number in range(COUNT):
        tokens = noise.integers(1, 30, noise.integers(3, 9)) + 8 * (number % 2)
        lines.append(json.dumps({"tokens": tokens.tolist(), "labels": ["bad", "good"][number % 2]}))
    file.write_text("\n".join(lines))


def result(*arguments: str) -> Result:
    """Run one job; its result, which is one of a repair or of none that was found."""
    outcome, folder = run_job(*arguments, *QUICK, "method.epochs=1")
    found = Result.read(folder)
    assert outcome in ("repaired", "failure"), found.tags
    assert found.metrics["before/accuracy"] > 0
    return found


def faulty_alone(*arguments: str) -> Result:
    """The measurements of the faulty model."""
    _, folder = run_job(*arguments, *QUICK, name="faulty")
    return Result.read(folder)


@pytest.mark.usefixtures("store")
def test_pictures_are_repaired_in_their_own_size(home: Path) -> None:
    pictures(home / "pets")
    found = result("+experiment=own_images", "dataset.root=pets")
    assert (found.tags["dataset"], found.tags["method"]) == ("pets", "joint")
    faulty = faulty_alone("dataset=image_folder", "dataset.root=pets", "metric.attacks.attack_success_rate.steps=2")
    assert 0 <= faulty.metrics["before/attack_success_rate"] <= 1
    (job,) = prepared("+experiment=own_images", "dataset.root=pets", *QUICK)
    assert job.data.input_shape == (3, 20, 24)


@pytest.mark.usefixtures("store")
def test_a_table_is_repaired_and_its_fairness_measured(home: Path) -> None:
    people(home / "people.csv")
    mine = ("dataset.file=people.csv", "dataset.label=income", "dataset.group=sex", "dataset.drop=[id]")
    found = result("+experiment=table", *mine)
    assert 0 <= found.metrics["before/aaod"] <= 1
    (job,) = prepared("+experiment=table", *mine, *QUICK)
    job.data.load(0)
    train = job.data.splits["train"].tensors().inputs
    model = job.make_model()
    assert torch.allclose(model.normalise.mean[0], train[:, 0].mean()), "of the train split, not of the whole file"
    assert "attack_success_rate" in faulty_alone("dataset=table", *mine).not_applicable
    attacked = faulty_alone("dataset=table", *mine, "dataset.epsilon=5", "force=true")
    assert 0 <= attacked.metrics["before/attack_success_rate"] <= 1


@pytest.mark.usefixtures("store")
def test_texts_are_repaired_as_token_ids(home: Path) -> None:
    reviews(home / "reviews.jsonl")
    found = result("+experiment=text", "dataset.file=reviews.jsonl")
    assert found.tags["architecture"] == "bagoftokens"
    (job,) = prepared("+experiment=text", "dataset.file=reviews.jsonl", *QUICK)
    assert job.architecture["num_tokens"] == 38 and job.architecture["padding"] == 0


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("method", ["arachne", "reassure", "hudd"])
def test_approaches_repair_a_network_for_tokens(home: Path, method: str) -> None:
    reviews(home / "reviews.jsonl")
    small = {"arachne": ("method.generations=3", "method.population=10"), "hudd": ("method.epochs=1",)}
    arguments = ("dataset=tokens", "dataset.file=reviews.jsonl", f"+method={method}", "metric=fast", *QUICK)
    outcome, folder = run_job(*arguments, *small.get(method, ()))
    assert outcome in ("repaired", "failure"), Result.read(folder).tags


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("shape", [(8, 8, 3), (6,)])
def test_arrays_are_images_or_rows(home: Path, shape: tuple[int, ...]) -> None:
    noise = np.random.default_rng(0)
    labels = np.arange(COUNT) % 3
    inputs = noise.random((COUNT, *shape)) * 0.6 + 0.2 * labels.reshape(COUNT, *[1] * len(shape))
    np.savez(home / "mine.npz", inputs=inputs, labels=labels)
    result("dataset=arrays", "dataset.file=mine.npz", "+method=finetune")
    found = faulty_alone("dataset=arrays", "dataset.file=mine.npz")
    assert ("before/attack_success_rate" in found.metrics) == (len(shape) == 3)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        (
            "dataset.transform={_target_: torchvision.transforms.v2.Compose, transforms: [{_target_: torch.nn.No}]}",
            "transforms0",
        ),
        ("dataset.transform={_target_: torchvision.transforms.v2.RandomHorizontalFlip}", "it draws random numbers"),
        ("dataset.timm=true", "dataset.timm=true: architecture._target_=study.models.lenet5.LeNet5 is neither"),
        ("dataset.size=[1,2,3]", "dataset.size=[1,2,3]: "),
    ],
)
def test_a_mistake_is_one_sentence(home: Path, argument: str, sentence: str) -> None:
    pictures(home / "pets")
    with pytest.raises(UsageError) as refusal:
        prepared("dataset=image_folder", "dataset.root=pets", argument)
    assert sentence in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_square_size_and_a_transform_come_from_the_command_line(home: Path) -> None:
    pictures(home / "pets")
    (job,) = prepared("dataset=image_folder", "dataset.root=pets", "dataset.size=16")
    assert job.data.input_shape == (3, 16, 16) and job.architecture["input_shape"] == [3, 16, 16]
    preset = "{_target_: torchvision.models.ResNet18_Weights.DEFAULT.transforms, resize_size: 18, crop_size: 18}"
    (job,) = prepared("dataset=image_folder", "dataset.root=pets", f"dataset.transform={preset}")
    assert (job.data.input_shape, job.task.model.normalise.mean.flatten().tolist()) == (
        (3, 18, 18),
        pytest.approx([0.485, 0.456, 0.406]),
    )
