"""Evaluating candidates on a few items first: the parts in which the items are taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise


def growing_parts(count: int, shares: Sequence[float]) -> list[slice]:
    """`count` items in order, cut where each of the cumulative `shares` (ascending, the last 1) is reached.

    Few items give fewer parts, as none is empty.

    >>> growing_parts(100, (0.05, 0.25, 1.0)), growing_parts(2, (0.05, 0.25, 1.0))
    ([slice(0, 5, None), slice(5, 25, None), slice(25, 100, None)], [slice(0, 1, None), slice(1, 2, None)])
    """
    ends = sorted({0, *(math.ceil(share * count) for share in shares)})
    return [slice(first, last) for first, last in pairwise(ends)]
