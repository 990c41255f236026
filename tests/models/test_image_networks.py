"""The families of networks for images: torchvision's where they are, at every size and width, stored, and refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from study.config.instantiate import make_classifier
from study.errors import UsageError
from study.models.densenet import DenseNet
from study.models.facenet import FaceNet
from study.models.pretrained import load_pretrained
from study.models.resnet import ResNet18
from study.models.small_cnn import SmallCNN
from study.models.vgg import VGG
from study.parts.network.structure import Structure
from study.storage.models import load_model, save_model

FAMILIES: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "vgg11": (VGG, {"depth": 11, "batch_norm": False}),
    "vgg16_bn": (VGG, {}),
    "resnet18": (ResNet18, {}),
    "densenet": (DenseNet, {"blocks": (2, 1, 2, 1)}),
    "facenet": (FaceNet, {}),
    "small_cnn": (SmallCNN, {}),
}
SMALLEST = {"vgg11": 32, "vgg16_bn": 32, "resnet18": 16, "densenet": 16, "facenet": 16}
LARGE: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "vgg16_bn": (lambda: VGG(input_shape=(3, 224, 224), num_classes=1000), torchvision.models.vgg16_bn),
    "vgg11": (
        lambda: VGG(input_shape=(3, 128, 128), num_classes=1000, depth=11, batch_norm=False),
        torchvision.models.vgg11,
    ),
    "resnet18": (lambda: ResNet18(input_shape=(3, 64, 64), num_classes=1000), torchvision.models.resnet18),
    "densenet121": (lambda: DenseNet(input_shape=(3, 64, 64), num_classes=1000), torchvision.models.densenet121),
}
over_families = pytest.mark.parametrize("name", FAMILIES)


def narrow(name: str, shape: tuple[int, ...] = (3, 32, 32), width: float = 1 / 16, **settings: Any) -> nn.Module:
    made, own = FAMILIES[name]
    return made(input_shape=shape, num_classes=4, width=width, **own, **settings)


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_numbers_of_weights_are_the_known_ones() -> None:
    with torch.device("meta"):
        small: dict[str, Any] = {"input_shape": (3, 32, 32), "num_classes": 10}
        assert count(ResNet18(**small)) == 11_173_962
        assert count(VGG(**small)) == 14_723_136 + (512 * 512 + 512) + (512 * 10 + 10)
        assert count(VGG(depth=11, batch_norm=False, **small)) == 9_220_480 + (512 * 512 + 512) + (512 * 10 + 10)
        large = {name: count(mine()) for name, (mine, _) in LARGE.items()}
    known = {"vgg16_bn": 138_365_992, "vgg11": 132_863_336, "resnet18": 11_689_512, "densenet121": 7_978_856}
    assert large == known


@pytest.mark.parametrize("name", LARGE)
def test_large_ones_have_torchvisions_names_and_shapes(name: str) -> None:
    with torch.device("meta"):
        mine, theirs = (make() for make in LARGE[name])
    shapes = [{key: tensor.shape for key, tensor in net.state_dict().items()} for net in (mine, theirs)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_with_torchvisions_weights_they_are_torchvisions(name: str) -> None:
    mine, theirs = (make().eval() for make in LARGE[name])
    mine.load_state_dict(theirs.state_dict())
    images = torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(mine(images), theirs(images), rtol=1e-4, atol=1e-4)


def test_the_head_of_vgg_has_one_hidden_dense_layer_and_that_of_facenet_no_relu() -> None:
    heads = {name: Structure(narrow(name).eval()).head for name in ("vgg16_bn", "vgg11", "facenet", "resnet18")}
    kinds = {name: [type(module).__name__ for module in head.modules] for name, head in heads.items()}
    assert kinds["vgg16_bn"] == kinds["vgg11"] == ["Linear", "ReLU", "Dropout", "Linear"]
    assert kinds["facenet"] == ["Linear", "Linear"]
    assert kinds["resnet18"] == ["Linear"]


def test_facenet_has_the_studys_eleven_layers() -> None:
    kinds = (nn.Conv2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Linear)
    net = FaceNet(input_shape=(3, 64, 64), num_classes=2)
    assert sum(isinstance(module, kinds) for module in net.modules()) == 11


@over_families
@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 33, 47), (3, 64, 128), (2, 128, 130)])
def test_every_size_and_number_of_channels_fits(name: str, shape: tuple[int, ...]) -> None:
    net = narrow(name, shape).eval()
    assert net(torch.rand(2, *shape)).shape == (2, 4)


@pytest.mark.parametrize("name", SMALLEST)
def test_the_smallest_image_trains_alone_and_a_smaller_one_is_refused(name: str) -> None:
    least = SMALLEST[name]
    net = narrow(name, (1, least, least)).train()
    assert net(torch.rand(1, 1, least, least)).shape == (1, 4)
    for shape in ((1, least - 1, least), (least, least)):
        with pytest.raises(
            UsageError, match=f"takes images of at least {least}x{least} pixels, not .*{least}; try arch"
        ):
            narrow(name, shape)


def test_the_small_cnn_takes_the_smallest_of_images() -> None:
    net = SmallCNN(input_shape=(1, 3, 1), num_classes=2, channels=[2, 3], dense=[])
    assert net(torch.rand(1, 1, 3, 1)).shape == (1, 2)
    assert [layer.in_features for layer in net.modules() if isinstance(layer, nn.Linear)] == [9]  # nothing was pooled


@over_families
def test_width_scales_the_channels(name: str) -> None:
    narrower, wider = (
        [layer.weight for layer in narrow(name, width=width).modules() if isinstance(layer, nn.Conv2d)]
        for width in (1 / 8, 1 / 4)
    )
    assert len(narrower) == len(wider)
    for one, other in zip(narrower[1:-1], wider[1:-1], strict=True):
        assert other.shape[:1] == (2 * one.shape[0],)


@over_families
def test_nothing_works_in_place_and_the_layout_is_kept(name: str) -> None:
    net = narrow(name).eval()
    assert not any(getattr(module, "inplace", False) for module in net.modules())
    graph = Structure(net).graph
    assert not any(node.kwargs.get("inplace") for node in graph.nodes)
    kernels = [layer.weight for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


@over_families
def test_a_stored_one_is_the_same_again(name: str, tmp_path: Path) -> None:
    made, own = FAMILIES[name]
    target = f"{made.__module__}.{made.__qualname__}"
    settings = {key: list(value) if isinstance(value, tuple) else value for key, value in own.items()}
    node = {"_target_": target, "input_shape": [3, 32, 32], "num_classes": 4, "width": 1 / 16, **settings}
    images = torch.rand(2, 3, 32, 32)
    model = make_classifier(node, [0.5] * 3, [0.2] * 3, images)
    for _ in range(3):
        model.train()(torch.rand(8, 3, 32, 32))  # statistics of BatchNorm that no new network has
    save_model(model.eval(), tmp_path)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path)(images), model(images))


class Weights:
    """A member of one of torchvision's enumerations of weights."""

    url = "https://example.org/net-0123.pth"

    def __init__(self, found: dict[str, Tensor] | Exception) -> None:
        self.found = found

    def get_state_dict(self, **how: Any) -> dict[str, Tensor]:
        assert how["check_hash"] and how["weights_only"]
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def test_torchvisions_weights_are_loaded_and_a_stored_model_does_not_fetch_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18()
    offered = SimpleNamespace(IMAGENET1K_V1=Weights(theirs.state_dict()))
    monkeypatch.setattr("study.models.resnet.ResNet18_Weights", offered)
    node = {"_target_": "study.models.resnet.ResNet18", "input_shape": [3, 64, 64], "num_classes": 1000}
    images = torch.rand(1, 3, 64, 64)
    model = make_classifier({**node, "pretrained": True}, None, None, images).eval()
    assert torch.equal(model.get_parameter("net.fc.weight"), theirs.fc.weight)
    save_model(model, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path)(images), model(images))


def test_the_first_densenets_keys_are_renamed() -> None:
    net = DenseNet(input_shape=(3, 64, 64), num_classes=3, blocks=(1, 1, 1, 1), width=1 / 16)
    old = {
        key.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): torch.ones_like(tensor)
        for key, tensor in net.state_dict().items()
    }
    assert set(old) != set(net.state_dict())
    load_pretrained(net, Weights(old), {}, {})
    assert bool((net.get_parameter("features.denseblock1.denselayer1.norm1.weight") == 1).all())


@pytest.mark.parametrize(
    "error", [OSError("no route"), RuntimeError("invalid hash value\nx"), EOFError(), pickle.UnpicklingError("no")]
)
def test_weights_that_cannot_be_had_are_one_sentence_with_a_way_out(error: Exception) -> None:
    with pytest.raises(
        UsageError, match=r"^architecture.pretrained=true: https://\S+ cannot be had \(.+\); .*net-0123.pth$"
    ):
        load_pretrained(nn.Linear(1, 1), Weights(error), {}, {})


@pytest.mark.parametrize(
    ("make", "differing"),
    [
        (lambda **fit: ResNet18(input_shape=(3, 224, 224), num_classes=10, **fit), "num_classes=10"),
        (lambda **fit: ResNet18(input_shape=(1, 28, 32), num_classes=1000, **fit), "channels=1, pixels=28"),
        (lambda **fit: VGG(input_shape=(3, 64, 64), num_classes=1000, width=0.5, **fit), "width=0.5, pixels=64"),
        (
            lambda **fit: DenseNet(input_shape=(3, 64, 64), num_classes=1000, blocks=(6, 12, 24, 1), **fit),
            r"blocks=\(6, 12, 24, 1\)",
        ),
    ],
)
def test_torchvisions_weights_are_refused_where_they_do_not_fit(make: Callable[..., nn.Module], differing: str) -> None:
    with (
        pytest.raises(UsageError, match=f"^architecture.pretrained=true: .* not for {differing}$"),
        torch.device("meta"),
    ):
        make(pretrained=True)
