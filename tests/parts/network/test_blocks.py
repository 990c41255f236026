"""Blocks of the networks of the study, and the segments between their tensors."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import models

from study.data.split import Split
from study.errors import NotApplicable
from study.models.lenet5 import LeNet5
from study.models.mlp import MLP
from study.parts.network.blocks import blocks_of, inlet, outlet, readings, segment
from study.parts.network.structure import Structure
from study.runtime.randomness import forked
from tests.networks import TinyNet


class SlimVGG16(nn.Module):
    """torchvision's vgg16_bn, with narrow dense layers that cost no time to make."""

    def __init__(self) -> None:
        super().__init__()
        self.features = models.vgg.make_layers(models.vgg.cfgs["D"], batch_norm=True)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        narrow = [nn.Linear(512 * 49, 24), nn.ReLU(True), nn.Dropout(), nn.Linear(24, 24), nn.ReLU(True), nn.Dropout()]
        self.classifier = nn.Sequential(*narrow, nn.Linear(24, 10))

    forward = models.VGG.forward


NETWORKS = {
    "lenet5": (
        lambda: LeNet5(input_shape=(1, 28, 28), num_classes=10),
        (1, 28, 28),
        {"conv1": (6, 8, 8), "conv2": (16, 3, 3), "fc1": (120,), "fc2": (84,)},
    ),
    "mlp": (
        lambda: MLP(input_shape=(1, 8, 8), num_classes=10, widths=[24, 16], batch_norm=True),
        (1, 8, 8),
        {"layers.1": (24,), "layers.4": (16,)},
    ),
    "tiny": (
        lambda: TinyNet(input_shape=(1, 8, 8), num_classes=10),
        (1, 8, 8),
        {"features.0": (8, 3, 3), "head.0": (16,)},
    ),
    "tanh": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 2)
        ),
        (1, 8, 8),
        {"0": (2, 6, 6), "2": (3, 4, 4)},
    ),
    "vgg16_bn": (
        SlimVGG16,
        (3, 32, 32),
        {
            "features.3": (64, 16, 16),
            "features.10": (128, 8, 8),
            "features.20": (256, 4, 4),
            "features.30": (512, 2, 2),
            "features.40": (512, 1, 1),
            "classifier.0": (24,),
            "classifier.3": (24,),
        },
    ),
    "resnet18": (
        lambda: models.resnet18(num_classes=10),
        (3, 64, 64),
        {
            "layer1.1.conv2": (64, 16, 16),
            "layer2.1.conv2": (128, 8, 8),
            "layer3.1.conv2": (256, 4, 4),
            "layer4.1.conv2": (512, 2, 2),
        },
    ),
    "densenet121": (
        lambda: models.densenet121(num_classes=10),
        (3, 64, 64),
        {
            "features.denseblock1.denselayer6.conv2": (128, 8, 8),
            "features.denseblock2.denselayer12.conv2": (256, 4, 4),
            "features.denseblock3.denselayer24.conv2": (512, 2, 2),
            "features.denseblock4.denselayer16.conv2": (1024, 1, 1),
        },
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_has_the_blocks_of_its_stages(name: str) -> None:
    make, shape, expected = NETWORKS[name]
    with forked(0, name):
        network, inputs = make().eval(), torch.rand(2, *shape)
    before = network(inputs)
    structure = Structure(network)
    blocks = blocks_of(structure, inputs)
    assert {block.layer: tuple(block.shape) for block in blocks} == expected
    maps = [block for block in blocks if len(block.shape) == 3]
    assert [block.early for block in maps] == [number < 2 for number in range(len(maps))]
    assert not any(block.early for block in blocks if len(block.shape) == 1)
    read = readings(structure, blocks, Split("some", inputs, torch.zeros(2, dtype=torch.int64)))
    with torch.no_grad():
        for block, features in zip(blocks, read, strict=True):
            entering = segment(structure, inlet(structure), block.start)(inputs)
            assert entering[0].numel() == block.elements
            kept = entering.clone()
            torch.testing.assert_close(segment(structure, block.start, block.end)(entering), features)
            torch.testing.assert_close(segment(structure, block.start, outlet(structure))(entering), before)
            assert torch.equal(entering, kept)  # though some layers work in place
            weight = f"{block.layer}.weight"
            assert segment(structure, block.start, block.end).get_parameter(weight) is network.get_parameter(weight)


def test_two_blocks_are_needed() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10)).eval()
    with pytest.raises(NotApplicable, match="needs two blocks .* the network has 1"):
        blocks_of(Structure(network), torch.rand(2, 1, 8, 8))


def test_a_segment_starts_late() -> None:
    """What lies before a block is not run again."""
    network = models.resnet18(num_classes=10).eval()
    structure = Structure(network)
    block = blocks_of(structure, torch.rand(2, 3, 64, 64))[2]
    names = {name for name, _ in segment(structure, block.start, block.end).named_parameters()}
    assert names and all(name.startswith("layer3.1.") for name in names)
