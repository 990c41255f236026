"""What a reader may conclude: which figure leads its column clearly, and whether accuracy rises at all."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import pandas as pd

from study.report.figures import Figure
from study.report.properties import Property

SEEDS = 3
"""Fewer say nothing about a spread."""
NOISE = 1e-12
"""Of floating point: equal values may have means that differ by so much."""
SIGNIFICANT = 0.05
"""A larger p-value does not tell a change from none."""
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


def p_value(runs: pd.DataFrame, properties: Sequence[Property]) -> float | None:
    """Exact two-sided McNemar test of a row's repairs against its negative flips; None where they were not counted.

    The numbers of repairs of one faulty model are of the same test inputs: their mean counts. Those of different faulty
    models are added.

    Args:
        runs: the repaired runs of the row.
        properties: those with the roles `repairs` and `flips` among them.
    """
    metrics = {item.role: item.metric for item in reversed(properties)}
    names = [metrics[role] for role in ("repairs", "flips") if role in metrics]
    counted = runs.dropna(subset=names) if len(names) == 2 and set(names) <= set(runs) else runs.iloc[:0]
    if counted.empty:
        return None
    repairs, flips = (round(number) for number in counted.groupby("subject_seed")[names].mean().sum())
    from scipy.special import bdtr  # a quarter of a second

    # The two tails of a binomial distribution of even odds are alike.
    return min(1.0, 2 * float(bdtr(min(repairs, flips), repairs + flips, 0.5)))


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
