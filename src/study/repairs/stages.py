"""The Lightning stages of a repair: trainings that an approach yields, and the rounds between them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import ClassVar

from study.repairs.approach import Log, Repair, Repaired
from study.runtime.fit import Stage


class Walk:
    """A walk through a repair, stage by stage: `item` is what its generator yielded last, or returned.

    Raises TypeError where the generator ends without a `Repaired`.
    """

    item: Stage | Log | Repaired

    def __init__(self, generator: Repair) -> None:
        self.generator = generator
        self.advance()

    def advance(self) -> None:
        """Run the approach up to its next training, the end of its next round, or its end."""
        try:
            self.item = next(self.generator)
        except StopIteration as end:
            if not isinstance(end.value, Repaired):
                raise TypeError(f"a repair returns Repaired(model), not {type(end.value).__name__}") from None
            self.item = end.value


class PatchingStage(Stage):
    """The rounds between two trainings: each training step logs one and runs the next.

    Time limit, memory budget and interrupt are thereby Lightning's.
    """

    automatic_optimization = False
    unit: ClassVar[str] = "rounds"

    def __init__(self, walk: Walk) -> None:
        super().__init__()
        self.walk = walk

    def train_dataloader(self) -> Iterator[int]:
        """The numbers of the rounds."""
        return itertools.count()

    def training_step(self, number: int, batch_idx: int) -> None:
        """Log the round that has ended, at its own `step` or its number, and run the next."""
        assert isinstance(self.walk.item, Mapping)
        values = dict(self.walk.item)
        self.record(values, int(values.pop("step", number)))
        self.walk.advance()
        if not isinstance(self.walk.item, Mapping):
            self.trainer.should_stop = True

    def configure_optimizers(self) -> None:
        """Rounds have no optimizer of Lightning's."""
