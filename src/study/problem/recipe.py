"""How a faulty model is trained: optimizer, batch size, epochs and augmentation.

Nothing here imports torch before a recipe is used: its values are checked without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from study.runtime.settings import settings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from study.problem.augmentation import Augmentation

Auto = Literal["auto"]


@settings
class Recipe:
    """A training recipe; `auto` stands for what the data set usually takes (see `resolved`).

    checkpoint: file of weights that replace training (safetensors or a plain state dict), or None; stop_at: validation
    accuracy at which training ends before `epochs`, so that faulty models of different seeds err about equally often.
    """

    checkpoint: str | None = None
    epochs: Annotated[int, Field(ge=0, le=10_000)] | Auto = "auto"
    optimizer: Literal["adam", "sgd"] | Auto = "auto"
    lr: Annotated[float, Field(gt=0, le=10)] | Auto = "auto"
    batch_size: Annotated[int, Field(ge=1)] | Auto = "auto"
    stop_at: Annotated[float, Field(gt=0, le=1)] | Auto | None = "auto"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    augmentation: Literal["none", "crop", "crop_flip"] | Auto = "auto"

    def resolved(self, usual: Mapping[str, Any]) -> Recipe:
        """This recipe with each `auto` replaced by the value in `usual`, which need not hold `stop_at` (then None)."""
        known = {"stop_at": None} | dict(usual)
        filled = {name: known[name] for name, value in dataclasses.asdict(self).items() if value == "auto"}
        return dataclasses.replace(self, **filled)

    def make_optimizer(self, parameters: Iterable[Tensor], lr: float | None = None) -> torch.optim.Optimizer:
        """The recipe's optimizer over `parameters`, at the recipe's learning rate unless `lr` is given."""
        import torch

        rate = float(self.lr) if lr is None else lr
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, rate, momentum=self.momentum, weight_decay=self.weight_decay, fused=True)
        return torch.optim.Adam(parameters, rate, weight_decay=self.weight_decay, fused=True)

    @property
    def transform(self) -> Augmentation | None:
        """The random transform of training inputs, None without one."""
        from study.problem.augmentation import augmentation

        return augmentation(str(self.augmentation))

    def augmented(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Training inputs under the random transform, drawn anew; as they are without one."""
        transform = self.transform
        return inputs if transform is None else transform.apply(inputs, transform.draw(inputs, generator))
