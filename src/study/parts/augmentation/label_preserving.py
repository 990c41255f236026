"""Random distortions that keep the label of an input: mild affine maps of images, other local names in programs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from study.data.renaming import RENAMED
from study.data.split import Split
from study.parts.augmentation.affine import RandomAffine
from study.problem.task import TaskSpec

Distortion = Callable[[Tensor, Tensor], Tensor]
"""A random change of inputs [B, ...] of a split, which lie at the indices [B] int64 there, drawn anew at each call."""


def keeps_labels(task: TaskSpec) -> bool:
    """Whether there is a distortion that keeps the label of such inputs."""
    return task.distortable or task.renamable


def distortion_of(data: Split, task: TaskSpec, mirror: bool, generator: torch.Generator) -> Distortion:
    """The distortion of the inputs of `data`; mirror: images are mirrored half of the time.

    Inputs that are neither images nor programs have none: what is returned must not be called.
    """
    if task.renamable:
        rename = data.variants[RENAMED]
        return lambda inputs, indices: rename(indices, generator).to(inputs.device)
    affine = RandomAffine.mild(task.input_shape[0], mirror)
    return lambda inputs, indices: affine.distorted(inputs, generator)
