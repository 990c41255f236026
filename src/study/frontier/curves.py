"""Points between a faulty model and its repair: how much is repaired and how much is broken on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from torch import Tensor, nn

from study.data.split import Split
from study.errors import NotApplicable
from study.models.votes import mixed
from study.problem.prediction import predict
from study.safeguards.alike import check_alike
from study.safeguards.interpolation import GRID, Between

SAFEGUARDS = ("interpolation", "soft_voting")
"""Those with one number that leads from the faulty model to the repaired one."""


class Point(NamedTuple):
    """share: of the repaired model, 0 to 1; repaired, broken: repair rate and rate of negative flips, in [0, 1]."""

    share: float
    repaired: float
    broken: float


def curves_of(
    before: nn.Module, after: nn.Module, test: Split, statistics: Split, seed: int
) -> Mapping[str, Sequence[Point]]:
    """The curve of each of `SAFEGUARDS` that can be put around the repair, at the shares of `GRID`, on `test`.

    Args:
        before, after: the faulty and the repaired model, in eval mode.
        statistics: training inputs that BatchNorm's statistics are estimated on.
        seed: of the job.
    """
    old, new = predict(before, test), predict(after, test)
    voting = (old if share == 0 else new if share == 1 else mixed(old, new, 1 - share) for share in GRID)
    found = {"soft_voting": _points(old, voting, test.labels)}
    try:
        check_alike("interpolation", before, after)
    except NotApplicable:
        return found
    between = Between(before, after, statistics, seed)
    return {"interpolation": _points(old, (predict(between.at(s), test) for s in GRID), test.labels)} | found


def _points(before: Tensor, answers: Iterable[Tensor], labels: Tensor) -> list[Point]:
    """Of logits [N, C] at each share of `GRID`, compared with those of the faulty model."""
    was_right = before.argmax(1) == labels
    points = []
    for share, logits in zip(GRID, answers, strict=True):
        is_right = logits.argmax(1) == labels
        fixed, failing = int((is_right & ~was_right).sum()), int((~was_right).sum())
        broken = int((was_right & ~is_right).sum()) / len(labels)
        points.append(Point(share, fixed / failing if failing else 0.0, broken))
    return points


def mean(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """The mean curve over seeds."""
    return [
        Point(points[0].share, fmean(point.repaired for point in points), fmean(point.broken for point in points))
        for points in zip(*curves, strict=True)
    ]


def best(curve: Sequence[Point], limit: float) -> Point:
    """The point that repairs most among those that break at most `limit`; of equals that which breaks least.

    There is always one: a share of 0 breaks nothing.
    """
    return max((point for point in curve if point.broken <= limit + 1e-12), key=lambda p: (p.repaired, -p.broken))


def pairs(curve: Sequence[Point]) -> Iterator[tuple[float, float]]:
    """Negative flips and repair rate of each point, in percent."""
    return ((100 * point.broken, 100 * point.repaired) for point in curve)
