"""Preprocessing by transforms of torchvision, timm and one's own."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms as v1
from torchvision.models import ResNet18_Weights
from torchvision.transforms import v2

from study.data.image_folder import ImageFolder
from study.data.transforms import preprocessing
from study.errors import UsageError

MEAN, STD = [0.5, 0.4, 0.3], [0.25, 0.5, 0.2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten pictures of 20x24 pixels in two classes."""
    noise = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(5):
            Image.fromarray(noise.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(tmp_path / name / f"{number}.png")
    return tmp_path


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (20, 24, 3), dtype=np.uint8))


def configured(root: Path, text: str) -> ImageFolder:
    """The data set of a configuration with these lines."""
    node = OmegaConf.create(f"_target_: study.data.image_folder.ImageFolder\nroot: {root}\n{text}")
    module = instantiate(OmegaConf.to_container(node), _convert_="all")
    assert isinstance(module, ImageFolder)
    module.load(0)
    return module


STEPS = """
transform:
  _target_: torchvision.transforms.v2.Compose
  transforms:
    - {_target_: torchvision.transforms.v2.Resize, size: 18}
    - {_target_: torchvision.transforms.v2.CenterCrop, size: 16}
    - {_target_: torchvision.transforms.v2.ToImage}
    - _target_: torchvision.transforms.v2.ToDtype
      dtype: {_target_: hydra.utils.get_object, path: torch.float32}
      scale: true
    - {_target_: torchvision.transforms.v2.Normalize, mean: [0.5, 0.4, 0.3], std: [0.25, 0.5, 0.2]}
"""


def test_the_model_sees_what_the_transform_alone_would_show_it(root: Path) -> None:
    module = configured(root, STEPS)
    assert (module.input_shape, module.mean, module.std) == ((3, 16, 16), MEAN, STD)
    whole = v2.Compose(
        [v2.Resize(18), v2.CenterCrop(16), v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    )
    items = [(path, label) for listing in module.listings.values() for path, label in listing]
    for name, split in module.splits.items():
        batch = split.tensors()
        assert batch.inputs.min() >= 0 and batch.inputs.max() <= 1
        for place, index in enumerate(module.indices[name].tolist()):
            path, label = items[index]
            normalised = (batch.inputs[place] - _column(MEAN)) / _column(STD)
            assert torch.allclose(normalised, whole(Image.open(path)).as_subclass(Tensor), atol=1e-5)
            assert batch.labels[place] == label


def _column(values: list[float]) -> Tensor:
    return torch.tensor(values).view(3, 1, 1)


def test_lazy_equals_eager(root: Path) -> None:
    eager, lazy = configured(root, STEPS), configured(root, f"{STEPS}\nin_memory_gib: 0")
    assert not isinstance(lazy.splits["train"].inputs, Tensor)
    assert torch.equal(lazy.splits["train"].fetch(torch.arange(3)).inputs, eager.splits["train"].tensors().inputs[:3])


def test_a_preset_of_torchvision_is_one_line(root: Path) -> None:
    text = (
        "transform: {_target_: torchvision.models.ResNet18_Weights.DEFAULT.transforms, resize_size: 18, crop_size: 16}"
    )
    module = configured(root, text)
    assert (module.input_shape, module.mean, module.std) == ((3, 16, 16), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    preset = ResNet18_Weights.DEFAULT.transforms(resize_size=18, crop_size=16)
    path = next(iter(module.listings.values()))[0][0]
    ready = module.reading.input_of(path)
    assert torch.allclose((ready - _column(module.mean)) / _column(module.std), preset(Image.open(path)), atol=1e-5)


def test_mean_and_std_that_are_set_win(root: Path) -> None:
    module = configured(root, f"{STEPS}\nmean: [0.1, 0.1, 0.1]\nstd: [1, 1, 1]")
    assert (module.mean, module.std) == ([0.1] * 3, [1.0] * 3)


GREY = """
transform:
  _target_: torchvision.transforms.v2.Compose
  transforms:
    - {_target_: torchvision.transforms.v2.Grayscale}
    - {_target_: torchvision.transforms.v2.CenterCrop, size: [8, 10]}
"""


def test_the_shape_follows_from_the_transform(root: Path) -> None:
    module = configured(root, GREY)
    assert module.input_shape == (1, 8, 10)
    assert module.splits["train"].tensors().inputs.shape[1:] == (1, 8, 10)


def test_the_fingerprint_follows_the_transform(root: Path) -> None:
    texts = [STEPS, STEPS.replace("size: 18", "size: 17"), STEPS.replace("0.25", "0.26"), ""]
    fingerprints = [configured(root, text).fingerprint for text in texts]
    assert len(set(fingerprints)) == 4
    assert configured(root, STEPS).fingerprint == fingerprints[0]


@pytest.mark.parametrize(
    "transform",
    [
        v1.Compose([v1.ToTensor(), v1.Normalize(MEAN, STD)]),
        v1.Compose([v1.ToTensor(), v1.Normalize(torch.tensor(MEAN), torch.tensor(STD))]),
        v2.Compose([v1.ToTensor(), v2.Normalize(MEAN, STD), v2.ToPureTensor()]),
        v2.Compose([v2.Resize(9), v2.Compose([v1.ToTensor(), v2.Normalize(MEAN, STD)])]),
        nn.Sequential(v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)),
        v2.Compose([v1.ToTensor(), v2.Normalize(MEAN, STD), v2.CenterCrop(8)]),
    ],
)
def test_a_normalisation_is_taken_off(transform: Callable[[Image.Image], Any]) -> None:
    ready = preprocessing(transform, picture())
    assert ready.mean == MEAN and ready.std == STD
    made = ready(picture())
    assert torch.allclose((made - _column(MEAN)) / _column(STD), transform(picture()).as_subclass(Tensor), atol=1e-5)
    assert torch.equal(transform(picture()), transform(picture())), "the user's own object is as it was"


def test_one_number_for_all_channels() -> None:
    ready = preprocessing(v2.Compose([v1.ToTensor(), v2.Normalize([0.5], [0.25])]), picture())
    assert (ready.mean, ready.std) == ([0.5] * 3, [0.25] * 3)


@pytest.mark.parametrize(
    "transform",
    [v2.Resize((8, 8)), v1.PILToTensor(), v1.ToTensor(), lambda image: np.asarray(image).transpose(2, 0, 1)],
)
def test_images_and_bytes_are_brought_into_the_unit_interval(transform: Any) -> None:
    made = preprocessing(transform, picture())(picture())
    assert made.dtype == torch.float32 and made.shape[0] == 3
    assert made.min() >= 0 and 0.5 < made.max() <= 1


def draws_of_python(image: Image.Image) -> Image.Image:
    return image.rotate(random.random() > 2)


@pytest.mark.parametrize(
    ("transform", "sentence"),
    [
        (3, "cannot be called: give a node with a _target_"),
        (v2.RandomHorizontalFlip(), "draws random numbers"),
        (v2.Compose([v2.RandomResizedCrop(8), v1.ToTensor()]), "draws random numbers"),
        (draws_of_python, "draws random numbers"),
        (v2.Normalize(MEAN, STD), "fails on an image of 20x24 pixels"),
        (v2.Compose([v1.ToTensor(), v2.Normalize(MEAN, STD), v2.Pad(2)]), "put Normalize last"),
        (v2.Compose([v1.ToTensor(), v2.Normalize(MEAN, STD), v2.Normalize(MEAN, STD)]), "normalises 2 times"),
        (v1.Compose([v1.ToTensor(), v1.Lambda(lambda image: image * 255)]), "gives values from 0 to 255"),
        (lambda image: "text", "gives str; it takes an image, or a tensor"),
        (lambda image: torch.zeros(8, 8), r"gives shape \(8, 8\)"),
        (lambda image: torch.zeros(3, 8, 8, dtype=torch.int32), "gives int32"),
    ],
)
def test_what_is_no_preprocessing_is_refused(root: Path, transform: Any, sentence: str) -> None:
    module = ImageFolder(root=str(root), transform=transform)
    with pytest.raises(UsageError, match=f"dataset.transform: it .*{sentence}") as refusal:
        module.check()
    assert "\n" not in str(refusal.value)


def test_trying_a_transform_leaves_the_random_state_alone() -> None:
    torch.manual_seed(0)
    before = torch.rand(1)
    torch.manual_seed(0)
    with pytest.raises(UsageError):
        preprocessing(v2.RandomHorizontalFlip(), picture())
    assert torch.rand(1) == before


def test_an_image_that_comes_out_otherwise_is_named(root: Path) -> None:
    Image.new("RGB", (30, 20)).save(root / "dog" / "4.png")
    with pytest.raises(UsageError, match=r"it makes 3x20x30 of .*dog/4.png and 3x20x24 of the first image"):
        ImageFolder(root=str(root), transform=v1.ToTensor()).load(0)
    wide = v1.Compose([v1.ToTensor(), v1.Lambda(lambda image: image * (2 if image.shape[2] == 30 else 1))])
    Image.new("RGB", (30, 20), "white").save(root / "dog" / "4.png")
    with pytest.raises(UsageError, match=r"dataset.transform: for .*dog/4.png it gives values from 2 to 2"):
        ImageFolder(root=str(root), transform=wide).load(0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"size": 8, "transform": v1.ToTensor()}, "dataset.size and dataset.transform: give one of them"),
        ({"size": 8, "timm": "resnet18"}, "dataset.size and dataset.timm: give one of them"),
        ({"timm": True}, "dataset.timm=true: there is no architecture"),
        ({"transform": v1.ToTensor(), "mean": [0.5], "std": [0.5]}, "each of the 3 channel"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(root: Path, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        ImageFolder(root=str(root), **settings).check()


class FakeTimm(ModuleType):
    """The two functions of timm.data that are used, and create_model, with what they were called with."""

    def __init__(self) -> None:
        super().__init__("timm")
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.data = ModuleType("timm.data")
        self.data.resolve_model_data_config = lambda model: {"input_size": model.size}  # type: ignore[attr-defined]
        self.data.create_transform = self._transform  # type: ignore[attr-defined]

    def create_model(self, name: str, **settings: Any) -> nn.Module:
        self.asked.append((name, settings))
        model = nn.Linear(1, 1)
        model.size = (3, settings.get("img_size", 10), 12)  # type: ignore[assignment]
        return model

    def _transform(self, input_size: tuple[int, int, int], is_training: bool) -> Any:
        assert not is_training
        return v1.Compose(
            [v1.Resize(input_size[1:]), v1.ToTensor(), v1.Normalize(torch.tensor(MEAN), torch.tensor(STD))]
        )


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> FakeTimm:
    fake = FakeTimm()
    monkeypatch.setitem(sys.modules, "timm", fake)
    monkeypatch.setitem(sys.modules, "timm.data", fake.data)
    return fake


def test_a_named_timm_model_brings_its_own_transform(root: Path, timm: FakeTimm) -> None:
    module = configured(root, "timm: fake_named")
    assert (module.input_shape, module.mean, module.std) == ((3, 10, 12), MEAN, STD)
    assert timm.asked == [("fake_named", {"pretrained": False})]
    assert configured(root, "timm: fake_named").fingerprint == module.fingerprint
    assert len(timm.asked) == 1, "a sweep makes the network once"


def test_the_architectures_timm_model_is_made_with_the_architectures_settings(root: Path, timm: FakeTimm) -> None:
    module = ImageFolder(root=str(root), timm=True)
    settings = {"model_name": "fake_followed", "img_size": 14, "num_classes": "auto", "pretrained": True}
    module.adopt({"_target_": "timm.create_model", **settings})
    module.load(0)
    assert module.input_shape == (3, 14, 12)
    assert timm.asked == [("fake_followed", {"img_size": 14, "pretrained": False})]
    arguments = {"img_size": 16}
    own = ImageFolder(root=str(root), timm=True)
    own.adopt({"_target_": "study.models.timm_network.TimmNetwork", "name": "fake_own", "arguments": arguments})
    own.load(0)
    assert timm.asked[1:] == [("fake_own", {"img_size": 16, "pretrained": False})]
    with pytest.raises(UsageError, match="architecture._target_=my.Net is neither architecture=timm nor timm.create"):
        module.adopt({"_target_": "my.Net"})


def test_without_timm_it_is_said_how_to_get_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        UsageError, match=r"dataset.timm=missing: timm is not installed: pip install 'repair-study\[timm\]'"
    ):
        ImageFolder(root=str(root), timm="missing").check()


def test_the_real_timm(root: Path) -> None:
    pytest.importorskip("timm")
    module = configured(root, "timm: resnet18")
    assert (module.input_shape, module.mean, module.std) == (
        (3, 224, 224),
        [0.485, 0.456, 0.406],
        [0.229, 0.224, 0.225],
    )
    with pytest.raises(
        UsageError, match=r"dataset.timm=resnet1: timm cannot make this model: Unknown model \(resnet1\)"
    ):
        ImageFolder(root=str(root), timm="resnet1").check()
    direct = configured(root, "transform: {_target_: timm.data.create_transform, input_size: 16}")
    assert (direct.input_shape, direct.mean) == ((3, 16, 16), [0.485, 0.456, 0.406])


def test_what_interpolation_overshoots_is_cut_off() -> None:
    made = preprocessing(lambda image: v1.functional.to_tensor(image) * 1.001 - 0.0005, picture())(picture())
    assert (made.min(), made.max()) == (0, 1)
