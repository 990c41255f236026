"""A faulty model that nobody trains: the network with the weights that it comes with."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torchvision.models import DenseNet121_Weights

from study.config.keys import Keys
from study.errors import UsageError
from study.job import problem_of
from tests.commands import compositions, prepared
from tests.data.files import write_photos
from tests.networks import Plain

QUIET = ("trainer.threads=1", "trainer.progress=false")
OWN = ("~architecture", "+architecture._target_=tests.networks.Plain", "trust=[tests]")


def imagenet(folder: Path) -> str:
    write_photos(folder / "train", {"a": 12, "b": 12}, side=40)
    write_photos(folder / "val", {"a": 4, "b": 4}, side=40, seed=1)
    return f"dataset.root={folder}"


def test_imagenet_takes_the_weights_of_densenet121() -> None:
    (job,) = compositions("dataset=imagenet")
    assert job.values["architecture"]["_target_"] == "study.models.densenet.DenseNet"
    assert job.values["architecture"]["pretrained"] is True


def test_the_weights_are_for_all_of_its_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DenseNet121_Weights, "get_state_dict", lambda *_, **__: pytest.fail("fetched"))
    with pytest.raises(UsageError, match=r"architecture\.pretrained=true: .*num_classes=1000.*num_classes=2"):
        prepared("dataset=imagenet", imagenet(tmp_path))


def test_a_network_without_weights_is_no_faulty_model(tmp_path: Path) -> None:
    small = ("dataset=imagenet", imagenet(tmp_path), "dataset.resize=36", "dataset.size=32", "architecture=lenet5")
    sentence = r"faulty\.epochs=auto: nothing is trained, and architecture=lenet5 comes without trained weights"
    with pytest.raises(UsageError, match=sentence):
        prepared(*small)
    with pytest.raises(UsageError, match=r"faulty\.epochs=0: nothing is trained"):
        prepared("faulty=pretrained")
    with pytest.raises(UsageError, match=r"faulty\.epochs=auto: nothing is trained"):
        prepared(*small[:-1], *OWN)
    (trained,) = prepared(*small, "faulty.epochs=2")
    assert trained.recipe.epochs == 2 and trained.recipe.augmentation == "crop_flip"


def test_nothing_is_trained_and_none_is_made_anew(
    store: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = prepared("faulty=pretrained", *OWN, *QUIET)
    assert not job.task.has_history
    job.data.load(0)
    made = job.make_model()
    assert isinstance(made.net, Plain)
    weights = {name: torch.full_like(value, 0.25) for name, value in made.net.state_dict().items()}
    original = Plain.__init__

    def brings_weights(net: Plain) -> None:
        original(net)
        net.load_state_dict(weights)

    monkeypatch.setattr(Plain, "__init__", brings_weights)
    with caplog.at_level(logging.INFO):
        problem = problem_of(job, Keys.of(job), job.data.splits)
    assert "nothing is trained" in caplog.text and "training the faulty model" not in caplog.text
    assert all((value == 0.25).all() for value in problem.faulty.get_submodule("net").state_dict().values())
    assert problem.history is None and problem.fresh(0) is None
