"""Any of timm's networks (Wightman, "PyTorch Image Models"), which is an extra."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import Annotated, Any

from pydantic import Field, validate_call
from torch import nn

from study.data.hub import hub_silence
from study.errors import UsageError
from study.models.images import image_shape, laid_out

OTHER_WEIGHTS = {"pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"}
"""Arguments of `timm.create_model` by which weights come from elsewhere."""
FILES = ("model.safetensors", "pytorch_model.bin")
"""What timm looks for on the hub, in this order, where it records no other name."""


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
        record = timm.get_pretrained_cfg(name)
        if getattr(record, "fixed_input_size", False):
            settings.setdefault("img_size", tuple(sides))
        if pretrained and not OTHER_WEIGHTS & set(arguments):
            _check_weights(name, getattr(record, "hf_hub_id", None), getattr(record, "hf_hub_filename", None))
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


def _check_weights(name: str, repository: str | None, file: str | None) -> None:
    """Raise UsageError, in seconds, where weights have to be fetched from a hub that does not answer.

    repository: on the hub, with `@REVISION` or without; None: the weights are not on the hub; file: None for the usual
    ones.
    """
    if not repository:
        return
    from huggingface_hub import try_to_load_from_cache

    place, _, revision = repository.partition("@")
    files = (file,) if file else FILES
    if any(isinstance(try_to_load_from_cache(place, each, revision=revision or None), str) for each in files):
        return
    if silence := hub_silence(place, files[0]):
        raise UsageError(
            f"architecture.pretrained=true: the weights of {name} are not on this machine, and "
            f"https://huggingface.co/{place} does not answer ({silence}); set architecture.pretrained=false and "
            "faulty.checkpoint=FILE to weights of this network that you have, or repeat this once with internet"
        )
