"""What was measured in a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from study.metrics.measured import Measured
from study.repairs.changes import LayerChange


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was measured, and on what.

    model: the module of the old and the repaired model that was run, attacked and is stored, None without one; before,
    after: logits [N, C] of the faulty model and of that module on the test split, None where nothing was run; measured:
    the figures; layers: what the repair changed in each layer, before any safeguard; masked: whether its gradient is
    masked, None if unknown.
    """

    model: nn.Module | None = None
    before: Tensor | None = None
    after: Tensor | None = None
    measured: Measured = field(default_factory=Measured)
    layers: Sequence[LayerChange] = ()
    masked: bool | None = None
