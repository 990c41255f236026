"""Any of timm's networks (Wightman, "PyTorch Image Models"), which is an extra."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import Annotated, Any

from pydantic import Field, validate_call
from torch import nn

from study.errors import UsageError
from study.models.images import image_shape, laid_out


class TimmNetwork(nn.Module):
    """What comes of the call is timm's own module, so that its weights have timm's names, and checkpoints fit.

    Maps [B, C, H, W] to logits [B, num_classes].

    Args:
        name: as timm lists it, with a tag of its weights or without: resnet18, resnet18.a1_in1k.
        pretrained: start from timm's weights, fetched from the Hugging Face hub; their first and last layer are adapted
            where the channels or the classes are others.
        arguments: further ones of `timm.create_model`.

    Raises:
        UsageError: timm is missing, has no such network, cannot make it for these inputs, or cannot have its weights.
    """

    @validate_call
    def __new__(  # type: ignore[misc]  # mypy: should make a TimmNetwork
        cls,
        *,
        name: str,
        input_shape: tuple[int, ...],
        num_classes: Annotated[int, Field(ge=2)],
        pretrained: bool = False,
        arguments: dict[str, Any] = {},  # noqa: B006 (pydantic copies it)
    ) -> nn.Module:
        try:
            timm = import_module("timm")
        except ImportError as error:
            raise UsageError("architecture=timm: timm is not installed: pip install 'repair-study[timm]'") from error
        channels, *sides = image_shape("timm", input_shape)
        if not timm.is_model(name):
            near = difflib.get_close_matches(name, timm.list_models(), 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"architecture.name={name}: timm has no network of that name{meant}")
        settings: dict[str, Any] = {"num_classes": num_classes, "in_chans": channels, **arguments}
        if getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False):
            settings.setdefault("img_size", tuple(sides))
        try:
            net: nn.Module = timm.create_model(name, pretrained=pretrained, **settings)
        except Exception as error:  # timm raises whatever its layers and the hub do
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            weights = " with its weights" if pretrained else ""
            raise UsageError(
                f"architecture.name={name}: timm cannot make this network{weights} for inputs of shape "
                f"{'x'.join(map(str, input_shape))}: {reason}"
            ) from error
        laid_out(net)
        return net
