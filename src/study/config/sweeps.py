"""The jobs of a sweep as far as they can be known before it starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from study.errors import UsageError

BASIC = "basic"
MOST_JOBS = 10_000
"""Jobs of a multirun, each of which is composed and checked before the first one starts."""


def sweeper_of(overrides: Sequence[Override]) -> str:
    """The chosen sweeper: `basic`, which tries every combination, unless another one is named."""
    chosen = [str(override.value()) for override in overrides if override.key_or_group == "hydra/sweeper"]
    return chosen[-1] if chosen else BASIC


def every_job(overrides: Sequence[Override]) -> list[list[str]]:
    """The arguments of every job of the basic sweeper; raises UsageError for an interval, which lists no values."""
    for override in overrides:
        if override.is_interval_sweep():
            raise UsageError(
                f"{override.input_line}: an interval needs a sweeper that searches, hydra/sweeper=optuna; "
                f"otherwise list the values: {override.key_or_group}=1,2,3 or {override.key_or_group}=range(1,4)"
            )
    if (count := math.prod(map(_count, overrides))) > MOST_JOBS:
        raise UsageError(
            f"{' '.join(str(override.input_line) for override in overrides if override.is_sweep_override())}: "
            f"these are {count:,} jobs; a multirun has at most {MOST_JOBS:,}"
        )
    batches = BasicSweeper.split_arguments(list(overrides), max_batch_size=None)
    return [list(job) for batch in batches for job in batch]


def sample_jobs(overrides: Sequence[Override]) -> list[list[str]]:
    """The arguments of some jobs that a sweeper which searches may come to.

    Each choice is in one of them, both ends of a range and the middle of an interval: what is wrong with a value shows
    before the search begins.
    """
    columns = [_values(override) for override in overrides]
    count = max((len(column) for column in columns), default=1)
    return [[column[number % len(column)] for column in columns] for number in range(count)]


def _count(override: Override) -> int:
    """How many values an override gives in turn; of a range counted without making it."""
    value = override.value()
    if isinstance(value, RangeSweep):
        start, stop, step = (Decimal(str(end)) for end in (value.start or 0, value.stop or 0, value.step))
        if not step:
            raise UsageError(f"{override.input_line}: a range needs a step other than 0")
        return max(0, math.ceil((stop - start) / step))
    return len(value.list) if isinstance(value, ChoiceSweep) else 1


def _values(override: Override) -> list[str]:
    key, value = override.get_key_element(), override.value()
    if isinstance(value, IntervalSweep):
        start, end = value.start or 0, value.end or 0
        whole = isinstance(start, int) and isinstance(end, int)
        return [f"{key}={(start + end) // 2 if whole else (start + end) / 2}"]
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if _count(override) > MOST_JOBS:
        raise UsageError(f"{override.input_line}: these are {_count(override):,} values; give at most {MOST_JOBS:,}")
    values = list(override.sweep_string_iterator())
    return [f"{key}={text}" for text in (values if override.is_choice_sweep() else [values[0], values[-1]])]
