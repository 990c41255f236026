"""The architectures of the study at a size for tests, on digits as 32x32 colour images, their last layer fitted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torchvision.models import DenseNet
from torchvision.models.resnet import BasicBlock, conv1x1
from torchvision.models.vgg import VGG, make_layers

from study.data.split import Split
from study.models.classifier import Classifier
from study.models.lenet5 import LeNet5
from study.models.mlp import MLP
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.runtime.randomness import forked
from tests.problems import digits_splits, problem_of

SHAPE = (3, 32, 32)
COUNTS = {"train": 400, "validation": 100, "repair": 200, "test": 100}
VGG16 = [4, 4, "M", 8, 8, "M", 16, 16, 16, "M", 32, 32, 32, "M", 32, 32, 32, "M"]


class NarrowVGG(VGG):
    """VGG16-BN at a sixteenth of its width, with two hidden dense layers."""

    def __init__(self) -> None:
        super().__init__(make_layers(VGG16, batch_norm=True), num_classes=10, init_weights=False)  # type: ignore[arg-type]
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        hidden = [nn.Linear(32, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 32), nn.ReLU(), nn.Dropout()]
        self.classifier = nn.Sequential(*hidden, nn.Linear(32, 10))


class NarrowResNet(nn.Module):
    """ResNet18 at an eighth of its width, with a stem for small images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(_block(before, width), BasicBlock(width, width))
            for before, width in ((8, 8), (8, 16), (16, 32), (32, 64))
        )
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(inputs)))))
        logits: Tensor = self.fc(self.pool(features).flatten(1))
        return logits


def _block(before: int, width: int) -> BasicBlock:
    if before == width:
        return BasicBlock(before, width)
    shortcut = nn.Sequential(conv1x1(before, width, 2), nn.BatchNorm2d(width))
    return BasicBlock(before, width, 2, shortcut)


SUBJECTS: dict[str, Callable[[], nn.Module]] = {
    "lenet5": lambda: LeNet5(input_shape=SHAPE, num_classes=10),
    "mlp": lambda: MLP(input_shape=SHAPE, num_classes=10, widths=(32, 24)),
    "vgg16_bn": NarrowVGG,
    "resnet18": NarrowResNet,
    "densenet121": lambda: DenseNet(4, (3, 3, 3, 3), 8, num_classes=10),
}


@lru_cache
def subject(name: str) -> Problem:
    """A problem with a network of that architecture; do not change its model."""
    torch.set_num_threads(1)
    splits = {part: _enlarged(split, COUNTS[part]) for part, split in digits_splits().items()}
    with forked(0, "init"):
        model, before = (Classifier(SUBJECTS[name]()) for _ in range(2))
    before.load_state_dict(model.state_dict())
    _fit(model, splits["train"], 1e-6)
    _fit(before, splits["train"].subset(torch.arange(150)), 1e-6)
    task = TaskSpec(model, "image", 10, SHAPE)
    return dataclasses.replace(problem_of(model, splits, history=before.eval()), task=task)


def _enlarged(split: Split, count: int) -> Split:
    inputs = split.tensors().inputs[:count].repeat_interleave(4, 2).repeat_interleave(4, 3).expand(-1, 3, -1, -1)
    return Split(split.name, inputs.contiguous(), split.labels[:count])


def _fit(model: nn.Module, split: Split, ridge: float) -> None:
    """Statistics of BatchNorm from the data, and the last layer by ridge regression: better than chance, in no time."""
    inputs = split.tensors().inputs
    entered: list[Tensor] = []
    *_, last = (module for module in model.modules() if isinstance(module, nn.Linear))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
    hook = last.register_forward_pre_hook(lambda _, values: entered.append(values[0]))
    with torch.no_grad():
        for part in inputs.split(100):
            model.train()(part)
        model.eval()(inputs)
        hook.remove()
        features = torch.cat([entered[-1], torch.ones(len(inputs), 1)], 1).double()
        targets = 8 * nn.functional.one_hot(split.labels, 10).double()
        penalty = ridge * features.square().sum() / features.shape[1] * torch.eye(features.shape[1]).double()
        solved = torch.linalg.solve(features.T @ features + penalty, features.T @ targets)
        last.weight.copy_(solved[:-1].T)
        last.bias.copy_(solved[-1])
