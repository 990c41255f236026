"""The jobs of a sweep, known before it starts or sampled."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from study.config.sweeps import every_job, sample_jobs, sweeper_of
from study.errors import UsageError


def read(*overrides: str) -> list:
    return OverridesParser.create().parse_overrides(list(overrides))


def test_every_combination() -> None:
    jobs = every_job(read("+method=a,b", "seed=range(2)", "metric=fast"))
    assert jobs == [[f"+method={method}", f"seed={seed}", "metric=fast"] for method in "ab" for seed in (0, 1)]


def test_an_interval_has_no_list_of_jobs() -> None:
    with pytest.raises(UsageError, match=r"^seed=interval\(0,3\): an interval needs .*hydra/sweeper=optuna"):
        every_job(read("seed=interval(0,3)"))


def test_the_sweeper_is_the_basic_one_unless_another_is_named() -> None:
    assert sweeper_of(read("seed=3")) == "basic"
    assert sweeper_of(read("seed=3", "hydra/sweeper=optuna")) == "optuna"


def test_samples_hold_every_choice_the_ends_of_a_range_and_the_middle_of_an_interval() -> None:
    overrides = ["+method=a,b,c", "seed=range(0,10)", "lr=interval(0.1,0.3)", "n=int(interval(1,5))", "metric=fast"]
    jobs = sample_jobs(read(*overrides))
    assert [job[:2] for job in jobs] == [["+method=a", "seed=0"], ["+method=b", "seed=9"], ["+method=c", "seed=0"]]
    assert all(job[2:] == ["lr=0.2", "n=3", "metric=fast"] for job in jobs)
    assert sample_jobs(read("metric=fast")) == [["metric=fast"]]
