"""Learning rate over a training that starts from trained weights: a short warm-up, then a cosine to 0."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from study.problem.recipe import Auto, Recipe

Schedule = Literal["constant", "cosine"]
WARM_UP = 0.05
PEAK, PEAK_WITH_BATCH_NORM = 2e-3, 1e-3


def warm_up_and_cosine(progress: float, step: float = 0.0) -> float:
    """Factor of the peak rate, in [0, 1].

    Args:
        progress: share of the training that is done, in [0, 1].
        step: share of the training that the coming step makes up; with it the first rate is above 0.

    >>> [round(warm_up_and_cosine(progress), 3) for progress in (0, 0.025, 0.05, 0.5, 1)]
    [0.0, 0.499, 0.994, 0.5, 0.0]
    """
    return min(1.0, (progress + step) / WARM_UP) * (1 + math.cos(math.pi * progress)) / 2


def over_steps(total: int) -> Callable[[int], float]:
    """The factor as a function of the step's number 0, 1, .. `total` - 1, as torch's LambdaLR takes it."""
    return lambda step: warm_up_and_cosine(step / total, 1 / total)


def with_schedule(optimizer: Optimizer, factor: Callable[[int], float]) -> dict[str, Any]:
    """The optimizer, its rate times `factor` of the step's number, as Lightning's `configure_optimizers` returns it."""
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}


def peak_rate(model: nn.Module) -> float:
    """Adam's peak rate for a network that is trained already: half as high with BatchNorm, whose statistics follow."""
    return PEAK_WITH_BATCH_NORM if has_batch_norm(model) else PEAK


def chosen_rate(lr: float | Auto, model: nn.Module, recipe: Recipe, schedule: Schedule) -> float:
    """Peak rate of training that goes on with the recipe's optimizer.

    `lr`; auto: with cosine and Adam `peak_rate`, otherwise the recipe's own.
    """
    if lr != "auto":
        return lr
    return peak_rate(model) if schedule == "cosine" and recipe.optimizer == "adam" else float(recipe.lr)


def has_batch_norm(model: nn.Module) -> bool:
    """Whether any layer of the network normalises over the batch."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def cosine_sgd(parameters: Iterable[Tensor], lr: float, weight_decay: float, steps: int) -> dict[str, Any]:
    """AugMix's optimizer, as Lightning takes it: SGD, Nesterov 0.9, `lr` by cosine over `steps` (>= 1) to 1e-6."""
    sgd = SGD(parameters, lr, momentum=0.9, nesterov=True, weight_decay=weight_decay, fused=True)
    cosine = CosineAnnealingLR(sgd, steps, eta_min=1e-6)
    return {"optimizer": sgd, "lr_scheduler": {"scheduler": cosine, "interval": "step"}}
