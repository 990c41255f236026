"""One network whose weights lie between those of the faulty and of the repaired one.

Sources: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022; Ilharco et al., "Patching open-vocabulary
models by interpolating weights", NeurIPS 2022; Schumann et al., "Backward Compatibility During Data Updates by Weight
Interpolation", 2023.
"""

from __future__ import annotations

import copy
import logging
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from study.data.split import Split
from study.problem.prediction import right
from study.problem.problem import Problem
from study.runtime.randomness import forked, stream
from study.runtime.settings import settings
from study.safeguards.alike import check_alike
from study.safeguards.base import Safeguard, noted

GRID = [step / 20 for step in range(21)]
"""Shares of the repaired weights that are tried: 0, 0.05, .. 1."""
BATCH = 250

log = logging.getLogger(__name__)


@settings
class Interpolation(Safeguard):
    """(1 - a) * faulty + a * repaired, of every weight; the statistics of BatchNorm are estimated anew.

    a is the share of the grid with the best validation accuracy under a bound on negative flips (of equals the
    smallest; 0 is the faulty model). Negative flips do not grow with a, so all of the grid is tried.

    nfr_max: rate of negative flips allowed on the validation and on the repair split; None: no bound. It need not be
    halved as a vote's is: on MNIST the validation split, which the faulty model was chosen on, shows more flips than
    the test split does, and two splits have to agree. inputs: training inputs at most that statistics are estimated on.
    """

    nfr_max: Annotated[float, Field(ge=0, le=1)] | None = 0.003
    inputs: Annotated[int, Field(ge=2)] = 10_000

    def guard(self, problem: Problem, repaired: nn.Module) -> nn.Module:
        check_alike("interpolation", problem.faulty, repaired)
        between = Between(problem.faulty, repaired, sample(problem.train, self.inputs, problem.seed), problem.seed)
        share = best_share(problem, between, self.nfr_max)
        log.info("interpolation: a = %.2f, chosen on validation", share)
        return noted(between.at(share), share=share)


class Between:
    """The networks between two with the same parameters and buffers, `before` at 0 and `after` at 1.

    inputs: what BatchNorm's statistics are estimated on anew, with batches in training mode; seed: of its Dropout.
    """

    def __init__(self, before: nn.Module, after: nn.Module, inputs: Split, seed: int) -> None:
        self.before, self.after, self.inputs, self.seed = before, after, inputs, seed

    def at(self, share: float) -> nn.Module:
        """A network of its own, in eval mode. What is no floating-point number stays that of `after`."""
        if share in (0, 1):
            return copy.deepcopy(self.after if share else self.before).eval()
        model, new = copy.deepcopy(self.after), self.after.state_dict()
        model.load_state_dict({name: _mean(old, new[name], share) for name, old in self.before.state_dict().items()})
        batches = self.inputs.batches(BATCH, drop_last=len(self.inputs) > BATCH)  # a rest of one has no variance
        with forked(self.seed, "safeguard", "layers"):
            update_bn(batches, model)
        return model.eval()


def _mean(old: Tensor, new: Tensor, share: float) -> Tensor:
    """Exactly the value of both where they are equal."""
    return torch.lerp(old, new, share) if new.is_floating_point() else new


def sample(train: Split, count: int, seed: int) -> Split:
    """At most `count` items of the training split, drawn at random."""
    order = torch.randperm(len(train), generator=stream(seed, "safeguard", "statistics"))
    return train.subset(order[:count])


def best_share(problem: Problem, between: Between, limit: float | None) -> float:
    """Of `GRID`, the share whose network is right on most validation inputs; of equals the smallest.

    limit: of the rate of negative flips on the validation and on the repair split; None: none.
    """
    validation, was_right = problem.validation, right(problem.faulty, problem.validation)
    ranked = []
    for share in GRID:
        stays = right(between.at(share), validation)
        if limit is None or (was_right & ~stays).double().mean() <= limit:
            ranked.append((-int(stays.sum()), share))
    for _, share in sorted(ranked):  # the repair split is run through only as long as it refuses
        if share == 0 or limit is None or _flips(problem, between.at(share)) <= limit:
            return share
    raise AssertionError("a share of 0 flips nothing")


def _flips(problem: Problem, model: nn.Module) -> float:
    """Rate of negative flips on the repair split."""
    broken = ~right(model, problem.repair_set)[problem.passing]
    return broken.sum().item() / len(problem.repair_set)
