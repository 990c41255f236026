import pytest

from study.repairs.costs import COSTS, described
from study.repairs.run import RepairResult


def test_the_figures_of_a_repair_are_its_time_and_all_its_costs() -> None:
    result = RepairResult(outcome="repaired", seconds=3.5, costs={"peak_memory": 12.0, "references": 7.0})
    measured = described(result)
    assert measured.values == {"time/repair": 3.5, "cost/peak_memory": 12.0, "cost/references": 7.0}
    assert list(measured.descriptions) == ["time/repair", "cost/peak_memory"]
    assert measured.not_applicable == {}


def test_cpu_time_stands_beside_the_clock_where_it_was_taken() -> None:
    result = RepairResult(outcome="repaired", seconds=3.5, cpu_seconds=6.0)
    assert described(result).values == {"time/repair": 3.5, "time/repair_cpu": 6.0}
    assert list(described(result).descriptions) == ["time/repair", "time/repair_cpu"]


@pytest.mark.parametrize("name", COSTS)
def test_less_is_better_of_every_cost(name: str) -> None:
    # What was fitted is no cost: it may be remembered alone. Nor is what a safeguard chose.
    neutral = name == "cost/repair_set_fixed" or name.startswith("cost/safeguard_")
    assert COSTS[name].higher_is_better is (None if neutral else False) and COSTS[name].meaning


def test_time_and_what_was_fitted_have_a_role() -> None:
    roles = {name: description.role for name, description in COSTS.items() if description.role}
    assert roles == {"time/repair": "time", "cost/repair_set_fixed": "fitted"}
    assert [name for name, description in COSTS.items() if description.summary] == ["time/repair"]
