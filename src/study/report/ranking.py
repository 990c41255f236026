"""What a reader may conclude: which figure leads its column clearly, and whether accuracy rises at all."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from study.report.figures import Figure
from study.report.properties import Property

SEEDS = 3
"""Fewer say nothing about a spread."""
NOISE = 1e-12
"""Of floating point: equal values may have means that differ by so much."""
NOT_CLEARLY_BETTER = "not clearly better than the faulty model"
NO_BETTER, WORSE = "no better than the faulty model", "worse than the faulty model"


def best(rivals: Mapping[int, Figure], item: Property) -> int | None:
    """Whose figure leads the column clearly; None where nobody's does.

    Of the rows with three seeds or more, the leading one has to be ahead of each other by more than the two standard
    deviations together, over the seeds that both have (three or more) and measured in the same way. A row with fewer
    seeds cannot lead; if its mean is as good, nobody does.
    """
    if item.higher_is_better is None:
        return None
    sign = 1 if item.higher_is_better else -1
    able = [key for key, figure in rivals.items() if figure.n >= SEEDS]
    if len(able) < 2:
        return None
    first = max(able, key=lambda key: sign * rivals[key].mean)
    ahead = all(_ahead(rivals[first], other, sign) for key, other in rivals.items() if key != first)
    return first if ahead else None


def _ahead(figure: Figure, other: Figure, sign: int) -> bool:
    if other.n < SEEDS:
        return sign * (figure.mean - other.mean) > 0
    seeds = [seed for seed in figure.by_seed if seed in other.by_seed]
    if len(seeds) < SEEDS or len(figure.ways | other.ways) > 1:
        return False
    ours, theirs = ([own.by_seed[seed] for seed in seeds] for own in (figure, other))
    lead = sign * (statistics.fmean(ours) - statistics.fmean(theirs))
    return lead > statistics.stdev(ours) + statistics.stdev(theirs) + NOISE


def verdict(accuracy: Figure | None) -> str:
    """What is to be said of a row whose accuracy does not clearly rise, else nothing.

    A change is clear if it is larger than the standard deviation of the changes over seeds. Of one seed only a fall is
    told; that a row is worse takes three.
    """
    change = accuracy.change if accuracy else None
    if accuracy is None or change is None or change.mean > (change.spread or 0.0) + NOISE:
        return ""
    if change.mean > NOISE:
        return NOT_CLEARLY_BETTER
    falls = change.spread is not None and accuracy.n >= SEEDS and -change.mean > change.spread + NOISE
    return WORSE if falls else NO_BETTER
