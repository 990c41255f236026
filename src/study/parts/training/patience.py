"""Early stopping by a loss that no longer falls."""

from __future__ import annotations

import math


class Patience:
    """Counts epochs without a new lowest loss; `epochs` None: never runs out.

    >>> patience = Patience(2)
    >>> [patience.runs_out(loss) for loss in (3.0, 2.0, 2.0, 2.5)]
    [False, False, False, True]
    """

    def __init__(self, epochs: int | None) -> None:
        self.epochs = epochs
        self._lowest = math.inf
        self._since = 0

    def runs_out(self, loss: float) -> bool:
        """Take the loss of an epoch; whether `epochs` in a row have not improved on the lowest so far."""
        self._since = 0 if loss < self._lowest else self._since + 1
        self._lowest = min(self._lowest, loss)
        return self.epochs is not None and self._since >= self.epochs
