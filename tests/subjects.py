"""The architectures of the study at a size for tests, on digits as 32x32 colour images, their last layer fitted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn

from study.data.split import Split
from study.models.classifier import Classifier
from study.models.densenet import DenseNet
from study.models.facenet import FaceNet
from study.models.lenet5 import LeNet5
from study.models.mlp import MLP
from study.models.resnet import ResNet18
from study.models.vgg import VGG
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.runtime.randomness import forked
from tests.problems import digits_splits, problem_of

SHAPE = (3, 32, 32)
COUNTS = {"train": 400, "validation": 100, "repair": 200, "test": 100}

SUBJECTS: dict[str, Callable[[], nn.Module]] = {
    "lenet5": lambda: LeNet5(input_shape=SHAPE, num_classes=10),
    "mlp": lambda: MLP(input_shape=SHAPE, num_classes=10, widths=(32, 24)),
    "vgg16_bn": lambda: VGG(input_shape=SHAPE, num_classes=10, width=1 / 8),
    "resnet18": lambda: ResNet18(input_shape=SHAPE, num_classes=10, width=1 / 8),
    "densenet121": lambda: DenseNet(input_shape=SHAPE, num_classes=10, blocks=(1, 2, 2, 1), width=1 / 8),
    "facenet": lambda: FaceNet(input_shape=SHAPE, num_classes=10, width=1 / 16),
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
