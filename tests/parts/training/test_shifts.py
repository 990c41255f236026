from study.parts.training.shifts import Shifted, by_fate, shift_costs
from study.parts.training.standing import Standing

LOW, HIGH = Standing(0.5, 0.0, 0.0), Standing(0.75, 0.1, 0.2)
SHIFTS = [Shifted(0, 3, LOW, HIGH, True), Shifted(13, 2, HIGH, LOW, False)]


def test_a_shift_is_logged_at_its_gradient_step() -> None:
    assert SHIFTS[1].log() == {"step": 13, "shift/inputs": 2, "shift/validation_gain": -0.25, "shift/kept": False}


def test_costs_count_and_average() -> None:
    expected = {"shifting_inputs": 5, "shifts": 2, "shifts_kept": 1, "shift_validation_gain": 0.0}
    assert shift_costs(SHIFTS) == expected
    assert shift_costs([])["shift_validation_gain"] == 0


def test_kept_and_undone_shifts_are_told_apart() -> None:
    assert by_fate(SHIFTS) == {"shift kept": [(0, HIGH)], "shift undone": [(13, LOW)]}
