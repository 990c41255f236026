"""Anyone's preprocessing of an image (torchvision, timm, a function of one's own), as a data set can use it.

Inputs stay in [0, 1], since normalisation is the model's first step: a normalisation is taken off the transform, and
its mean and deviation are handed on.
"""

from __future__ import annotations

import copy
import hashlib
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from study.errors import UsageError

Transform = Callable[[Image.Image], Any]
ROUNDING = 1e-3
"""By how much a value may leave [0, 1], as interpolation of floats does; it is cut off."""
SAME = 1e-3
"""Difference up to which inputs normalised here and by the transform itself are the same."""
TRIALS = 4


@dataclass(frozen=True)
class Preprocessing:
    """A transform without its normalisation, and that one's mean and std per channel (None: it had none)."""

    transform: Transform
    mean: list[float] | None
    std: list[float] | None

    def __call__(self, image: Image.Image) -> Tensor:
        """The input [C, H, W] float32 in [0, 1]; raises UsageError, which does not name the file, for anything else."""
        made = _pixels(self.transform(image))
        low, high = (float(value) for value in made.aminmax())
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):
            raise UsageError(
                f"gives values from {low:.3g} to {high:.3g}, and inputs lie in [0, 1]: leave out what scales them, or "
                "let it end with a Normalize, which becomes dataset.mean and dataset.std"
            )
        return made.clamp_(0, 1)

    def identity(self, images: Sequence[Image.Image]) -> list[str]:
        """What tells this transform from others (JSON-like): its description, and what it makes of some images."""
        digest = hashlib.sha256()
        for image in images:
            digest.update(self(image).numpy().tobytes())
        return [re.sub(r" at 0x[0-9a-f]+", "", repr(self.transform)), digest.hexdigest()]


def preprocessing(transform: Any, image: Image.Image) -> Preprocessing:
    """Take a transform apart, and try it on an image (RGB or grey, 8 bits).

    Raises:
        UsageError: The sentence does not name the setting: it cannot be called, draws random numbers, fails, or
            normalises at a place from which that cannot be taken off.
    """
    if not callable(transform):
        raise UsageError(f"is {transform!r}, which cannot be called: give a node with a _target_")
    _check_repeatable(transform, image)
    found: list[tuple[list[float], list[float]]] = []
    bare = _without_normalisation(transform, found)
    if len(found) > 1:
        raise UsageError(f"normalises {len(found)} times; once is enough")
    if not found:
        return Preprocessing(transform, None, None)
    whole, inside = _pixels(transform(image.copy())), Preprocessing(bare, None, None)(image.copy())
    mean, std = (values * len(whole) if len(values) == 1 else values for values in found[0])
    scale = [torch.tensor(values).view(-1, 1, 1) for values in (mean, std)]
    if whole.shape != inside.shape or not torch.allclose((inside - scale[0]) / scale[1], whole, atol=SAME):
        raise UsageError("does not end with its normalisation: put Normalize last, or leave it out")
    return Preprocessing(bare, mean, std)


def _check_repeatable(transform: Transform, image: Image.Image) -> None:
    with _random_states_kept():
        before = _random_states()
        try:
            made = [_pixels(transform(image.copy())) for _ in range(TRIALS)]
        except UsageError:
            raise
        except Exception as error:  # a user's transform may raise anything
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise UsageError(f"fails on an image of {image.height}x{image.width} pixels: {reason[0]}") from error
        same = all(torch.equal(made[0], other) for other in made[1:])
        if not same or _random_states() != before:
            raise UsageError("draws random numbers: give the transform of evaluation, which is the same each time")


def _without_normalisation(step: Any, found: list[tuple[list[float], list[float]]]) -> Any:
    """The step with each normalisation in it replaced by nothing, its mean and std added to `found`."""
    if isinstance(step, nn.Sequential):
        return nn.Sequential(*(_without_normalisation(inner, found) for inner in step))
    if isinstance(inner := getattr(step, "transforms", None), (list, tuple)):
        outer = copy.copy(step)
        outer.transforms = [_without_normalisation(one, found) for one in inner]
        return outer
    mean, std = _numbers(getattr(step, "mean", None)), _numbers(getattr(step, "std", None))
    if mean is None or std is None or len(mean) != len(std):
        return step
    found.append((mean, std))
    if type(step).__name__ == "Normalize":
        return nn.Identity()
    bare = copy.copy(step)  # a preset, which normalises as its last step
    bare.mean, bare.std = [0.0] * len(mean), [1.0] * len(std)
    return bare


def _numbers(values: Any) -> list[float] | None:
    if isinstance(values, Tensor):
        values = [float(str(value)) for value in values.flatten().float().numpy()]  # 0.485, not 0.48500001430511475
    numeric = isinstance(values, (list, tuple)) and values and all(isinstance(v, (int, float)) for v in values)
    return [float(value) for value in values] if numeric else None


def _pixels(made: Any) -> Tensor:
    """What a transform gave, as float32 [C, H, W]; bytes are brought into [0, 1]."""
    if isinstance(made, Image.Image):
        made = np.array(made.convert("L" if made.mode in ("1", "L") else "RGB"))
        made = made[None] if made.ndim == 2 else made.transpose(2, 0, 1)
    tensor = torch.tensor(made) if isinstance(made, np.ndarray) else made
    if not isinstance(tensor, Tensor) or tensor.dim() != 3:
        what = f"shape {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else type(made).__name__
        raise UsageError(f"gives {what}; it takes an image, or a tensor [channels, height, width]")
    if tensor.dtype == torch.uint8:
        return tensor.as_subclass(Tensor).float().div_(255)
    if not tensor.is_floating_point():
        raise UsageError(f"gives {str(tensor.dtype).removeprefix('torch.')}; it takes uint8, or floats in [0, 1]")
    return tensor.as_subclass(Tensor).to(torch.float32, copy=True)


def _random_states() -> tuple[bytes, object, bytes]:
    numpy_state: Any = np.random.get_state()
    return (
        torch.get_rng_state().numpy().tobytes(),
        random.getstate(),
        repr(numpy_state[2:]).encode() + numpy_state[1].tobytes(),
    )


@contextmanager
def _random_states_kept() -> Iterator[None]:
    torch_state, python_state, numpy_state = torch.get_rng_state(), random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        random.setstate(python_state)
        np.random.set_state(numpy_state)
